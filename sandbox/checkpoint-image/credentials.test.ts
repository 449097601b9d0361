import type { Spec } from '../../oci';
import { credentialsBeyond } from './credentials';
import { imageOf, message, numbers } from './image.fixture';
import type { WireField } from './image-file';

type Creds = Readonly<Record<number, readonly bigint[]>>;

/** CAP_KILL (5) in every set but the ambient one, no_new_privs, uid and gid 7, group 8. */
const usual: Creds = {
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((number) => [number, [7n]])),
  ...Object.fromEntries([9, 10, 11, 12].map((number) => [number, [32n, 0n]])),
  13: [0n],
  14: [8n],
  18: [1n],
  19: [0n, 0n],
};
const credsOf = (creds: Creds): WireField =>
  message(
    10,
    Object.entries(creds).flatMap(([number, values]) => numbers(Number(number), values)),
  );
const threadOf = (creds: Creds, seccompMode = 2n): WireField =>
  message(5, [credsOf(creds), ...numbers(11, [seccompMode])]);

const core = (...fields: WireField[]): Buffer => imageOf(fields);

const CAP_KILL = ['CAP_KILL'];
const sets = { bounding: CAP_KILL, effective: CAP_KILL, permitted: CAP_KILL, inheritable: CAP_KILL };
const process = {
  args: ['true'],
  cwd: '/',
  user: { uid: 7, gid: 7, additionalGids: [8] },
  noNewPrivileges: true,
  capabilities: sets,
};
const spec = (changes: object = {}): Spec => ({ ociVersion: '1.0.2', process: { ...process, ...changes } });
const beyond = (image: Buffer, given: Spec = spec()): string[] =>
  credentialsBeyond(image, 'core-1.img', { spec: given });
const changed = (creds: Creds): Buffer => core(threadOf({ ...usual, ...creds }));

test('what the spec gives is nothing beyond it', () => {
  expect(beyond(changed({}))).toEqual([]);
  expect(beyond(changed({ 10: [0n], 12: [0n, 0n] }))).toEqual([]);
});

test.each([
  ['inheritable', 9],
  ['permitted', 10],
  ['effective', 11],
  ['bounding', 12],
  ['ambient', 19],
])('a capability in the %s set that no set of the spec has', (name, number) => {
  expect(beyond(changed({ [number]: [32n | (1n << 21n), 0x8n] }))).toEqual([
    `core-1.img: ${name} CAP_SYS_ADMIN CAP_WAKE_ALARM`,
  ]);
});

test('numbers that are packed count as anything', () => {
  const packed: WireField = { number: 12, wireType: 2, value: Buffer.from([32, 0]) };
  const creds = Object.entries(usual).filter(([number]) => number !== '12');
  const fields = [...creds.flatMap(([number, values]) => numbers(Number(number), values)), packed];
  const image = core(message(5, [message(10, fields)]));
  expect(beyond(image)).toEqual([expect.stringContaining('bounding CAP_CHOWN')]);
});

test('what is only in the bounding set is not permitted to who has no_new_privs, and may be to others', () => {
  const bounded = { capabilities: { bounding: CAP_KILL } };
  const image = changed({ 9: [0n], 11: [0n] });
  expect(beyond(image, spec(bounded))).toEqual(['core-1.img: permitted CAP_KILL']);
  expect(beyond(image, spec({ ...bounded, noNewPrivileges: false }))).toEqual([]);
});

test('ids that cannot be changed are those of the spec', () => {
  const image = changed({ 3: [0n], 6: [0n], 14: [8n, 0n] });
  expect(beyond(image)).toEqual(['core-1.img: euid 0', 'core-1.img: sgid 0', 'core-1.img: groups 0']);
  expect(beyond(image, spec({ noNewPrivileges: false }))).toEqual([]);
  const mayChange = ['CAP_KILL', 'CAP_SETUID', 'CAP_SETGID'];
  expect(beyond(image, spec({ capabilities: { ...sets, permitted: mayChange } }))).toEqual([]);
});

test('no_new_privs is kept', () => {
  expect(beyond(changed({ 18: [0n] }))).toEqual(['core-1.img: no no_new_privs']);
  expect(beyond(changed({ 18: [] }))).toEqual(['core-1.img: no no_new_privs']);
});

test('a thread without credentials, or with two of them, would have CRIU’s own or the last ones', () => {
  const without = ['core-1.img (without credentials of its own)'];
  expect(beyond(core(message(5, numbers(11, [2n]))))).toEqual(without);
  expect(beyond(core(message(5, [credsOf(usual), credsOf(usual)])))).toEqual(without);
  expect(beyond(core(threadOf(usual), threadOf(usual)))).toEqual(without);
});

test('a zombie has no thread; whatever else has none is refused', () => {
  const task = (state: bigint): WireField => message(3, numbers(1, [state]));
  expect(beyond(core(task(2n)))).toEqual([]);
  expect(beyond(core(task(1n)))).toEqual(['core-1.img (without a thread)']);
  expect(beyond(core())).toEqual(['core-1.img (without a thread)']);
  expect(beyond(core(task(2n), threadOf({ ...usual, 12: [0xffffffffn] }))).length).toBe(1);
});
