import { refusal } from '../../errors/testing/refusal';
import { loadNative } from '../../native';
import type { Process } from '../../oci';
import { C, Kernel } from '../../syscall';
import { ctrSpec, type SpecChanges, WITH_SECCOMP } from '../ctr-spec.fixture';
import { planProcess } from './process-plan';
import type { ProcessPlan } from '../programs/process';
import { FixedHost } from '../recorded-host.fixture';

const surroundings = {
  kernel: new Kernel(loadNative(), -1),
  host: new FixedHost('v2'),
  config: { baseline: 'none' as const, oomScoreAdj: 'strict' as const },
};

function plan(changes: Partial<Process> = {}, linux: SpecChanges['linux'] = {}, layers: string[] = []): ProcessPlan {
  const spec = ctrSpec({ process: changes, linux });
  return planProcess(surroundings, spec, spec.process!, { layers, userns: true });
}

test('the process of a ctr spec', () => {
  // Bits of the fourteen capabilities, by their numbers in capabilities(7).
  const bits = [0, 1, 4, 3, 27, 13, 6, 7, 31, 8, 10, 18, 5, 29].reduce((mask, n) => mask | (1n << BigInt(n)), 0n);
  expect(plan()).toEqual({
    argv: ['/bin/sh'],
    env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'],
    candidates: ['/bin/sh'],
    cwd: '/',
    uid: 0,
    gid: 0,
    additionalGids: [0, 10],
    umask: 0o022,
    capabilities: { bounding: bits, effective: bits, permitted: bits, inheritable: 0n, ambient: 0n },
    labels: [],
    lastCapability: 40,
    noNewPrivileges: true,
    baseline: undefined,
    seccomp: undefined,
    rlimits: [
      {
        name: 'RLIMIT_NOFILE',
        resource: C.RLIMIT_NOFILE,
        soft: 1024n,
        hard: 1024n,
        procName: 'Max open files',
        raise: false,
      },
    ],
    oomScoreAdj: undefined,
    ioPriority: undefined,
    scheduler: undefined,
    personality: undefined,
    affinity: { initial: undefined, final: undefined },
    terminal: false,
    newKeyring: true,
    passFds: [],
    traced: false,
    terminalSize: undefined,
  });
});

test('a process that says next to nothing', () => {
  const spec = ctrSpec();
  const planned = planProcess(surroundings, spec, { args: ['sh'], cwd: '/work' }, { layers: [], userns: true });
  expect(planned).toMatchObject({
    // Without a PATH the usual directories; HOME is always there.
    env: ['HOME=/'],
    candidates: ['/usr/local/sbin/sh', '/usr/local/bin/sh', '/usr/sbin/sh', '/usr/bin/sh', '/sbin/sh', '/bin/sh'],
    cwd: '/work',
    uid: 0,
    gid: 0,
    additionalGids: [],
    capabilities: { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n },
    noNewPrivileges: false,
    rlimits: [],
    terminal: false,
  });
});

test('everything else that a process can say', () => {
  const planned = plan({
    user: { uid: 1000, gid: 100, additionalGids: [7], umask: 0 },
    oomScoreAdj: -500,
    terminal: true,
    noNewPrivileges: false,
    env: ['PATH=/opt', 'HOME=/srv'],
    args: ['tool', '-v'],
  });
  expect(planned).toMatchObject({
    argv: ['tool', '-v'],
    candidates: ['/opt/tool'],
    env: ['PATH=/opt', 'HOME=/srv'],
    uid: 1000,
    gid: 100,
    additionalGids: [7],
    umask: 0,
    oomScoreAdj: -500,
    terminal: true,
    noNewPrivileges: false,
  });
});

test('an oom_score_adj of 0 is not none', () => {
  expect(plan({ oomScoreAdj: 0 }).oomScoreAdj).toBe(0);
});

test.each([
  [524288, false],
  [524289, true],
])('a hard limit of %d has to be raised by host root: %p', (hard, raise) => {
  expect(plan({ rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1, hard }] }).rlimits).toMatchObject([{ soft: 1n, raise }]);
});

test('the seccomp filter of the spec is for every process of the container', () => {
  const planned = plan({}, WITH_SECCOMP);
  expect(planned.seccomp?.bpf.length).toBeGreaterThan(8);
  expect(planned.seccomp!.bpf.length % 8).toBe(0);
});

test('no program is SPEC_INVALID', () => {
  expect(
    refusal(() => planProcess(surroundings, ctrSpec(), { args: [], cwd: '/' }, { layers: [], userns: true })),
  ).toEqual({
    code: 'SPEC_INVALID',
    message: '$.process.args: must name a program',
    details: { jsonPath: '$.process.args' },
  });
});
