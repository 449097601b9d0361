/** Checks of what the table in unsupported.ts refuses as a whole today; parseSpec does not get to them. */
import { failureOf } from '../check.fixture';
import { linux } from './linux';
import { hooks } from './mounts';
import { process } from './process';

const withProcess = (members: object): unknown => process({ args: ['sh'], cwd: '/', ...members }, '$');

test.each<[string, string, () => unknown]>([
  ['a relative hook', '$.poststop[0].path', () => hooks({ prestart: [], poststop: [{ path: 'x' }] }, '$')],
  ['a hook without time', '$.prestart[0].timeout', () => hooks({ prestart: [{ path: '/x', timeout: 0 }] }, '$')],
  ['an unknown policy', '$.scheduler.policy', () => withProcess({ scheduler: { policy: 'FIFO' } })],
  ['no policy', '$.scheduler.policy', () => withProcess({ scheduler: { nice: 1 } })],
  ['niceness 20', '$.scheduler.nice', () => withProcess({ scheduler: { policy: 'SCHED_OTHER', nice: 20 } })],
  [
    'a priority of SCHED_IDLE',
    '$.scheduler.priority',
    () => withProcess({ scheduler: { policy: 'SCHED_IDLE', priority: 1 } }),
  ],
  [
    'a deadline of SCHED_RR',
    '$.scheduler.deadline',
    () => withProcess({ scheduler: { policy: 'SCHED_RR', deadline: 1 } }),
  ],
  [
    'I/O priority 8',
    '$.ioPriority.priority',
    () => withProcess({ ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 8 } }),
  ],
  ['no I/O class', '$.ioPriority.class', () => withProcess({ ioPriority: { priority: 1 } })],
  ['an interface with a slash', '$.netDevices', () => linux({ netDevices: { 'a/b': {} } }, '$')],
  [
    'a long interface name',
    '$.netDevices.eth0.name',
    () => linux({ netDevices: { eth0: { name: 'abcdefghijklmnop' } } }, '$'),
  ],
  ['an unknown clock', '$.timeOffsets', () => linux({ timeOffsets: { realtime: {} } }, '$')],
  [
    'a second of nanoseconds',
    '$.timeOffsets.boottime.nanosecs',
    () => linux({ timeOffsets: { boottime: { nanosecs: 1e9 } } }, '$'),
  ],
  ['an unknown memory policy', '$.memoryPolicy.mode', () => linux({ memoryPolicy: { mode: 'BIND' } }, '$')],
  ['a memory policy without a mode', '$.memoryPolicy.mode', () => linux({ memoryPolicy: {} }, '$')],
  [
    'a memory policy with nodes that it does not take',
    '$.memoryPolicy.nodes',
    () => linux({ memoryPolicy: { mode: 'MPOL_LOCAL', nodes: '0-7' } }, '$'),
  ],
  [
    'one without those that it needs',
    '$.memoryPolicy.nodes',
    () => linux({ memoryPolicy: { mode: 'MPOL_BIND' } }, '$'),
  ],
  [
    'nodes that are no list',
    '$.memoryPolicy.nodes',
    () => linux({ memoryPolicy: { mode: 'MPOL_BIND', nodes: '0-9876543210' } }, '$'),
  ],
  ['a group outside resctrl', '$.intelRdt.closID', () => linux({ intelRdt: { closID: '..' } }, '$')],
  ['an unknown personality', '$.personality.domain', () => linux({ personality: { domain: 'BSD' } }, '$')],
  [
    'a default listener',
    '$.seccomp.defaultAction',
    () => linux({ seccomp: { defaultAction: 'SCMP_ACT_NOTIFY' } }, '$'),
  ],
  [
    'a listener for write',
    '$.seccomp.syscalls[0]',
    () =>
      linux(
        { seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['write'], action: 'SCMP_ACT_NOTIFY' }] } },
        '$',
      ),
  ],
])('%s', (_, jsonPath, check) => {
  expect(failureOf(check)).toMatchObject({ code: 'SPEC_INVALID', details: { jsonPath } });
});

test('what is right comes back', () => {
  const hook = { path: '/bin/hook', args: ['hook', '-x'], env: ['A=b'], timeout: 5 };
  expect(hooks({ prestart: [hook], other: 1 }, '$')).toEqual({ prestart: [hook] });
  const scheduler = { policy: 'SCHED_DEADLINE', runtime: 1, deadline: 2, period: 3, flags: ['SCHED_FLAG_RECLAIM'] };
  const ioPriority = { class: 'IOPRIO_CLASS_IDLE', priority: 0 };
  expect(withProcess({ scheduler, ioPriority })).toMatchObject({ scheduler, ioPriority });
  const rest = {
    netDevices: { eth0: { name: 'lan' } },
    timeOffsets: { monotonic: { secs: -5 } },
    intelRdt: { closID: 'a', schemata: ['L3:0=f'] },
  };
  expect(linux(rest, '$')).toEqual(rest);
});
