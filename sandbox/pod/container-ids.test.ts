import type { Spec } from '../../oci';
import { containerIdMaps, idsWarning, refuseForeignUser } from './container-ids';

const range = [{ containerID: 0, hostID: 100_000, size: 65536 }];
const MAPS = { uids: range, gids: range };
const OWN = { network: true, ipc: true, uts: true };
const FOREIGN = { ...OWN, foreignNetwork: true };

function spec(capabilities: string[], user = false): Spec {
  const namespaces = user ? [{ type: 'user' }] : [];
  return { ociVersion: '1.2.0', process: { capabilities: { bounding: capabilities } }, linux: { namespaces } } as never;
}

const PRIVILEGED = ['CAP_SYS_ADMIN', 'CAP_SYS_MODULE', 'CAP_SYS_RAWIO', 'CAP_CHOWN'];
const USUAL = ['CAP_CHOWN', 'CAP_NET_RAW', 'CAP_MKNOD', 'CAP_AUDIT_WRITE'];

test.each<[string, Spec, boolean, string]>([
  ['an ordinary container has the pod’s', spec(USUAL), true, ''],
  ['so has one that may mount in it', spec([...USUAL, 'CAP_SYS_ADMIN', 'CAP_SYS_PTRACE']), true, ''],
  ['a privileged one has the host’s', spec(PRIVILEGED), false, ''],
  ['unless it asks for a user namespace', spec(PRIVILEGED, true), true, ''],
  [
    'one that would set the clock has the host’s',
    spec(['CAP_SYS_TIME']),
    false,
    "it is not in the pod's user namespace",
  ],
  ['unless that is asked for', spec(['CAP_SYS_TIME'], true), true, 'CAP_SYS_TIME has no power'],
  [
    'one that would manage a network of somebody else’s has the host’s',
    spec(['CAP_NET_ADMIN']),
    false,
    'in which CAP_NET_ADMIN would have no power',
  ],
])('ids: %s', (_, one, pods, warning) => {
  const pod = { idMaps: MAPS, namespaces: FOREIGN };
  expect(containerIdMaps(pod, one)).toBe(pods ? MAPS : null);
  expect(containerIdMaps({ ...pod, idMaps: null }, one)).toBeNull();
  const told = idsWarning(pod, one) ?? '';
  expect([told.includes(warning), told === '']).toEqual([true, warning === '']);
});

test.each<[string, Partial<Spec>, string]>([
  [
    'a mount’s mapping',
    {
      mounts: [{ destination: '/a' }, { destination: '/b', uidMappings: [{ containerID: 0, hostID: 1, size: 65536 }] }],
    },
    'no id 65536 ($.mounts[1])',
  ],
  ['an owner', { mounts: [{ destination: '/a', options: ['gid=70000'] }] }, 'no id 70000 ($.mounts[0])'],
])('ids: one that needs others has the host’s: %s', (_, asked, told) => {
  const pod = { idMaps: MAPS, namespaces: OWN };
  const one = { ...spec(USUAL), ...asked };
  expect(containerIdMaps(pod, one)).toBeNull();
  expect(idsWarning(pod, one)).toContain(`in which there would be ${told}`);
  expect(containerIdMaps(pod, { ...spec(USUAL, true), ...asked })).toBe(MAPS);
  expect(idsWarning(pod, { ...spec(USUAL, true), ...asked })).toBeUndefined();
});

test.each([
  [{ scheduler: { policy: 'SCHED_DEADLINE', nice: 19 } }, 'SCHED_DEADLINE would not be permitted'],
  [{ scheduler: { policy: 'SCHED_OTHER', nice: -1 } }, 'nice -1 would not be permitted'],
  [{ ioPriority: { class: 'IOPRIO_CLASS_RT' } }, 'IOPRIO_CLASS_RT would not be permitted'],
  [{ scheduler: { policy: 'SCHED_BATCH', nice: 7 }, ioPriority: { class: 'IOPRIO_CLASS_BE' } }, undefined],
])('ids: scheduling %j', (process, told) => {
  const one = { ...spec(USUAL), process } as never;
  const pod = { idMaps: MAPS, namespaces: OWN };
  expect(containerIdMaps(pod, one)).toBe(told === undefined ? MAPS : null);
  expect(idsWarning(pod, one) ?? '').toContain(told ?? '');
});

// An image's USER and /etc/group are in these: it cannot choose to be without a user namespace.
test.each([
  ['uid 1000650000', { uid: 1_000_650_000, gid: 0 }],
  ['gid 65536', { uid: 0, gid: 65536 }],
  ['gid 70000', { uid: 0, gid: 0, additionalGids: [5, 70000] }],
])('ids: %s is refused, and the user namespace stays', (named, user) => {
  for (const [own, code] of [
    [false, 'SPEC_UNSUPPORTED'],
    [true, 'SPEC_INVALID'],
  ] as const) {
    const one = { ...spec(USUAL, own), process: { user } } as never;
    expect(containerIdMaps({ idMaps: MAPS, namespaces: OWN }, one)).toBe(MAPS);
    expect(idsWarning({ idMaps: MAPS, namespaces: OWN }, one)).toBeUndefined();
    expect(() => refuseForeignUser(MAPS, one, { user })).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringContaining(
          `$.process.user: there is no ${named} in the container's user namespace`,
        ) as string,
        details: { jsonPath: '$.process.user' },
      }) as Error,
    );
    expect(() => refuseForeignUser(null, one, { user })).not.toThrow();
  }
});

test('ids: nobody (65534) is in every pod', () => {
  const user = { uid: 65534, gid: 65535, additionalGids: [5] };
  expect(() => refuseForeignUser(MAPS, spec(USUAL), { user })).not.toThrow();
});

test('ids: one that manages a network of the pod’s own has the pod’s', () => {
  const pod = { idMaps: MAPS, namespaces: OWN };
  expect(containerIdMaps(pod, spec(['CAP_NET_ADMIN']))).toBe(MAPS);
  expect(idsWarning(pod, spec(['CAP_NET_ADMIN']))).toBeUndefined();
});
