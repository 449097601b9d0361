import type { Seccomp, Spec } from '../../oci';
import { type Rights, rightsBeyond } from './rights';

const spec = (process: object = {}, linux: object = {}): Spec => ({
  ociVersion: '1.0.2',
  process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 }, ...process },
  linux,
});
const beyond = (saved: Spec, given: Spec): string[] => rightsBeyond({ spec: saved }, { spec: given });
const capable = (...names: string[]): object => ({ capabilities: { bounding: names, effective: names } });
const profile = (name: string, value: number | bigint = 0x7e020000): Seccomp =>
  ({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [{ names: [name], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }] }],
  }) as unknown as Seccomp;

test('of the same spec, or one that gives more, there is nothing', () => {
  expect(beyond(spec(capable('CAP_KILL')), spec(capable('CAP_KILL')))).toEqual([]);
  expect(beyond(spec(), spec(capable('CAP_KILL')))).toEqual([]);
  expect(beyond(spec({ noNewPrivileges: true }, { seccomp: profile('read') }), spec())).toEqual([]);
  expect(beyond({ ociVersion: '1.0.2' }, spec())).toEqual([]);
});

test('a capability must be given in each set that it was saved in', () => {
  expect(beyond(spec(capable('CAP_SYS_ADMIN', 'CAP_KILL')), spec(capable('CAP_KILL')))).toEqual([
    'capabilities.bounding (CAP_SYS_ADMIN saved and not given)',
    'capabilities.effective (CAP_SYS_ADMIN saved and not given)',
  ]);
  for (const set of ['effective', 'permitted', 'inheritable', 'ambient']) {
    const saved = spec({ capabilities: { bounding: ['CAP_KILL'], [set]: ['CAP_KILL'] } });
    const given = spec({ capabilities: { bounding: ['CAP_KILL'] } });
    expect(beyond(saved, given)).toEqual([`capabilities.${set} (CAP_KILL saved and not given)`]);
  }
});

test('the user and the group are the same, and there are no further groups', () => {
  const user = (uid: number, gid: number, ...additionalGids: number[]): Spec =>
    spec({ user: { uid, gid, additionalGids } });
  expect(beyond(user(5, 6, 6, 7), user(5, 6, 7, 8))).toEqual([]);
  expect(beyond(user(0, 0), user(5, 6))).toEqual(['user.uid (saved 0, given 5)', 'user.gid (saved 0, given 6)']);
  expect(beyond(user(5, 0), user(7, 0))).toEqual(['user.uid (saved 5, given 7)']);
  expect(beyond(user(5, 5, 0, 7, 8), user(5, 5, 8))).toEqual(['user.additionalGids (0 7 saved and not given)']);
});

test('no_new_privs is kept', () => {
  expect(beyond(spec(), spec({ noNewPrivileges: true }))).toEqual(['noNewPrivileges (saved without, given true)']);
});

test.each(['apparmorProfile', 'selinuxLabel'])('%s is the same where one is given', (field) => {
  const labelled = (label?: string): Spec => spec({ [field]: label });
  expect(beyond(labelled('one'), labelled('one'))).toEqual([]);
  expect(beyond(labelled('one'), labelled())).toEqual([]);
  expect(beyond(labelled(''), labelled('unconfined'))).toEqual([]);
  expect(beyond(labelled('one'), labelled('two'))).toEqual([`${field} (saved one, given two)`]);
  expect(beyond(labelled(), labelled('two'))).toEqual([`${field} (saved unconfined, given two)`]);
});

test('a seccomp profile is the same where one is given', () => {
  const filtered = (seccomp?: Seccomp): Spec => spec({}, { seccomp });
  expect(beyond(filtered(profile('read')), filtered(profile('read', 0x7e020000n)))).toEqual([]);
  expect(
    beyond(filtered(profile('read')), filtered({ ...profile('read'), flags: undefined } as unknown as Seccomp)),
  ).toEqual([]);
  expect(beyond(filtered(profile('mount')), filtered(profile('read')))).toEqual([
    'linux.seccomp (saved another profile than given)',
  ]);
  expect(beyond(filtered(), filtered(profile('read')))).toEqual(['linux.seccomp (saved without a profile, given one)']);
});

test.each<[Rights['baseline'], Rights['baseline'], string[]]>([
  ['docker', 'docker', []],
  ['strict', 'docker', []],
  ['docker', 'none', []],
  ['none', 'docker', ['the baseline filter (saved none, configured docker)']],
  ['docker', 'strict', ['the baseline filter (saved docker, configured strict)']],
  // Of a silt that did not record it.
  [undefined, 'docker', []],
  [undefined, 'strict', ['the baseline filter (saved docker, configured strict)']],
])('of the baseline %s where %s is configured', (had, gets, expected) => {
  expect(rightsBeyond({ spec: spec(), baseline: had }, { spec: spec(), baseline: gets })).toEqual(expected);
  const privileged = spec(capable('CAP_SYS_ADMIN', 'CAP_SYS_MODULE', 'CAP_SYS_RAWIO'));
  expect(rightsBeyond({ spec: spec(), baseline: had }, { spec: privileged, baseline: gets })).toEqual([]);
});
