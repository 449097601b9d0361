import type { IdMaps } from '../../gofer';
import { baselineFilter, type SeccompFilter } from '../../oci';
import { C, close, dupTo, execveat, fork, mountSetattr, prctl, type Program, ProgramBuilder, setIds, setSeccompFilter, type Slot } from '../../syscall'; // prettier-ignore
import type { CgroupEntry } from '../cgroup';
import { inCgroup } from './cgroup-entry';
import { report } from './reports';
import { makeGate, openGate, passGate, writeIdMaps } from './user-namespace';

export interface UnpackPlan {
  /** The ids that the archive's are: the pod's, or all of the host's for a pod without a user namespace. */
  readonly idMaps: IdMaps;
  /** The directory is the root of a detached mount, to be idmapped: what the unpacker's root owns is owned by 0 on disk. */
  readonly idmapped: boolean;
  readonly cgroup: CgroupEntry;
  /** Command line after the program's name; the script comes on stdin. */
  readonly args: readonly string[];
}

/** Names of the fds that the program is given. */
export const UNPACK_FDS = {
  node: 'node',
  script: 'script',
  addon: 'addon',
  archive: 'archive',
  upper: 'upper-fs',
} as const;
/** Where the unpacker finds its fds. stdin is its script. */
export const UNPACKER = { archive: 3, upper: 4, socket: 5, addon: 6 } as const;

/** What the unpacker's root may do in its user namespace: own and mark files. */
const KEPT = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_SETFCAP',
  'CAP_MKNOD',
] as const;
/** The capabilities that it has once it has left the host's filesystem, for which it needs CAP_SYS_ADMIN. */
export const UNPACKER_CAPABILITIES = KEPT.reduce((mask, name) => mask | (1n << BigInt(C[name])), 0n);
const AT_START = UNPACKER_CAPABILITIES | (1n << BigInt(C.CAP_SYS_ADMIN));

/**
 * The program that starts the unpacker: Node in a user namespace and every other kind of namespace of its own, in the
 * container's cgroup, so that what it writes is charged there. It is given open files only: its binary, its script, its addon,
 * the archive and the upper's directory. The script's first act is to leave the host's filesystem.
 */
export function unpackProgram(plan: UnpackPlan, lastCapability: number): Program {
  const p = new ProgramBuilder();
  p.step('preparing to unpack');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  inCgroup(p, plan.cgroup, () => startUnpacker(p, plan, lastCapability));
  return p.build();
}

function startUnpacker(p: ProgramBuilder, plan: UnpackPlan, lastCapability: number): void {
  const gate = makeGate(p);
  p.step('cloning the unpacker');
  const kinds = ['USER', 'NS', 'PID', 'NET', 'IPC', 'UTS', 'CGROUP'].map((kind) => `CLONE_NEW${kind}`);
  const { pid, pidfd } = fork(p, 'unpacker', { flags: ['CLONE_PARENT', ...kinds].join('|'), pidfd: true }, () => {
    passGate(p, gate);
    becomeUnpacker(p, plan, lastCapability);
  });
  writeIdMaps(p, pid, plan.idMaps);
  if (plan.idmapped) idmapDirectory(p, pid);
  report(p, 'process', [p.keep(pidfd, 'unpacker')]);
  openGate(p, gate);
}

/** The fd that the unpacker has is of the same mount, so this holds for it before it goes through the gate. */
function idmapDirectory(p: ProgramBuilder, pid: Slot): void {
  p.step('mapping the ids of the directory to unpack to');
  const userns = p.slot('userns');
  const path = p.pathWithNumber('/proc/', pid, '/ns/user');
  p.call('openat', [C.AT_FDCWD, path, C.O_RDONLY | C.O_CLOEXEC, 0], { out: userns });
  mountSetattr(p, p.donated(UNPACK_FDS.upper), { userns });
  close(p, userns);
}

/**
 * For Node's start, before the script has a filter of its own (unpacker-filter): libuv makes an io_uring then if it can, and would want
 * to use it later.
 */
export function unpackerBaseline(): SeccompFilter {
  return baselineFilter('strict', AT_START)!;
}

function becomeUnpacker(p: ProgramBuilder, plan: UnpackPlan, lastCapability: number): void {
  p.step('becoming the unpacker');
  setIds(p, 0, 0, []);
  p.call('setsid', []);
  for (let cap = 0; cap <= lastCapability; cap++)
    if (!((AT_START >> BigInt(cap)) & 1n)) prctl(p, 'PR_CAPBSET_DROP', cap);
  prctl(p, 'PR_SET_NO_NEW_PRIVS', 1);
  prctl(p, 'PR_SET_PDEATHSIG', C.SIGKILL);
  const { bpf, flags } = unpackerBaseline();
  setSeccompFilter(p, bpf, flags);
  report(p, 'ready');
  // The donated fds lie where the unpacker's own are to be: first all of them go up, out of the way.
  const high = (name: keyof typeof UNPACK_FDS, at: number): void => dupTo(p, p.donated(UNPACK_FDS[name]), at, true);
  (['node', 'script', 'addon', 'archive', 'upper'] as const).forEach((name, i) => high(name, 20 + i));
  dupTo(p, p.report, 25, true);
  p.call('close_range', [UNPACKER.archive, 19, 0]);
  p.step('starting Node for the unpacker');
  for (const [from, to] of [
    [21, 0],
    [23, UNPACKER.archive],
    [24, UNPACKER.upper],
    [25, UNPACKER.socket],
    [22, UNPACKER.addon],
  ] as const)
    dupTo(p, from, to);
  execveat(p, 20, ['silt-unpacker', ...plan.args], []);
}
