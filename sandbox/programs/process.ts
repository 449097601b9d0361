import {
  accessible,
  C,
  capset,
  chdir,
  dupTo,
  execve,
  flags,
  ioctl,
  type Label,
  Named,
  prctl,
  type ProgramBuilder,
  receiveMessage,
  setIds,
  setRlimit,
  setSeccompFilter,
  type Slot,
  write,
  close,
  open,
  REPORT_FD,
} from '../../syscall';
import type { SeccompFilter } from '../../oci';
import type { TerminalSize } from '../terminal/master';
import type { Parking } from './parking';
import { report } from './reports';

export interface CapabilityPlan {
  readonly bounding: bigint;
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
  readonly ambient: bigint;
}

/** What a security module is to make of the process at its exec, and of its keyring: a file below /proc/self/attr, and the text for it. */
export interface ExecLabel {
  readonly file: 'exec' | 'keycreate' | 'apparmor/exec';
  readonly text: string;
}

export interface RlimitPlan {
  readonly name: string;
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
  /** The hard limit is above silt's own: host root has to raise it before the pod's namespaces are entered. */
  readonly raise: boolean;
}

/** A process of a container, as its program needs it: every name looked up, every number final. */
export interface ProcessPlan {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** Where the program may lie, in the order of PATH. */
  readonly candidates: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly umask: number;
  readonly capabilities: CapabilityPlan;
  /** The last capability that the kernel knows (/proc/sys/kernel/cap_last_cap). */
  readonly lastCapability: number;
  readonly noNewPrivileges: boolean;
  /** What the operator has for every container; undefined for a privileged one. */
  readonly baseline: SeccompFilter | undefined;
  /** What the spec asks for. */
  readonly seccomp: SeccompFilter | undefined;
  /** What is written to files of /proc before exec: AppArmor's profile, SELinux's label. */
  readonly labels: readonly ExecLabel[];
  readonly rlimits: readonly RlimitPlan[];
  readonly oomScoreAdj: number | undefined;
  /** What ioprio_set(2) takes. */
  readonly ioPriority: number | undefined;
  /** struct sched_attr. */
  readonly scheduler: Uint8Array | undefined;
  /** What set_mempolicy(2) takes. */
  readonly memoryPolicy: { readonly mode: number; readonly nodes: Uint8Array | undefined } | undefined;
  /** What personality(2) takes. */
  readonly personality: number | undefined;
  /** Masks of the CPUs of an exec before it joins the container's cgroup, and afterwards. */
  readonly affinity: { readonly initial: Uint8Array | undefined; readonly final: Uint8Array | undefined };
  readonly terminal: boolean;
  /** A session keyring of its own, and not that of whoever starts it. */
  readonly newKeyring: boolean;
  /** The fds that the program gets besides its stdio, by their numbers there; donated by the names of {@link passedName}. */
  readonly passFds: readonly number[];
  /** What it executes is shown only some features of the CPU: it asks to be traced before. */
  readonly traced: boolean;
  /** The terminal's first size, in characters. */
  readonly terminalSize: TerminalSize | undefined;
}

/** Names of the fds that a process gets as its stdio, unless it has a terminal. */
export const STDIO = ['stdin', 'stdout', 'stderr'] as const;
/** Numbers that a passed fd can have in the program: behind its stdio, and below what is kept for it meanwhile. */
export const FIRST_PASSED = 3;
export const LAST_PASSED = 299;

/** The name of the fd that becomes the program's `number`. */
export function passedName(number: number): string {
  return `pass${number}`;
}

/** Begins the step that asks for a label; behind it stands what is written. */
export const LABEL_STEP = 'asking for the security label ';

/** What host root must do for a process before it enters the pod: raise hard limits, set the OOM score. */
export function prepareAsHostRoot(p: ProgramBuilder, plan: ProcessPlan): void {
  for (const limit of plan.rlimits.filter((one) => one.raise)) {
    p.step(`raising the hard limit ${limit.name} to ${limit.hard}`);
    setRlimit(p, limit.resource, limit.name, limit.hard, limit.hard);
  }
  // While the host's /proc is in sight: the container's could be anything. Children inherit it, until one executes something.
  for (const { file, text } of plan.labels) {
    p.step(`${LABEL_STEP}${text}`);
    const fd = open(p, `/proc/self/attr/${file}`, 'O_WRONLY');
    write(p, fd, text);
    close(p, fd);
  }
  if (plan.oomScoreAdj === undefined) return;
  p.step(`setting oom_score_adj to ${plan.oomScoreAdj}`);
  const fd = open(p, '/proc/self/oom_score_adj', 'O_WRONLY');
  write(p, fd, `${plan.oomScoreAdj}`);
  close(p, fd);
}

/**
 * Adds the way from a process of silt inside the container's namespaces to the container's program: stdio, ids,
 * capabilities, seccomp, exec. The order is forced by who may do what:
 * the terminal and the working directory while still root, the bounding set before the ids, ids before the capability sets
 * (keeping them over setresuid), the filter last: a profile need not allow what silt does. Without `no_new_privs` that takes
 * CAP_SYS_ADMIN (seccomp(2)), which goes right after it: of capset(2) and execve(2) nobody can be spared.
 *
 * `parking` is what the process does once all is checked and before exec.
 */
export function becomeProcess(
  p: ProgramBuilder,
  plan: ProcessPlan,
  openTerminal: (() => Slot) | undefined,
  parking: Parking,
): void {
  p.step('starting a session');
  p.call('setsid', []);
  // A keyring of its own, as runc does; a kernel without keyrings, or a full quota, is no reason not to start.
  if (plan.newKeyring) p.call('keyctl', [flags('KEYCTL_JOIN_SESSION_KEYRING'), 0, 0, 0, 0], { tolerate: 'all' });
  setStdio(p, openTerminal);
  const passed = keepPassedFds(p, plan);
  p.step(`entering the working directory ${plan.cwd}`);
  chdir(p, plan.cwd);
  p.step('setting the umask');
  p.call('umask', [new Named(plan.umask, `0${plan.umask.toString(8)}`)]);
  if (plan.noNewPrivileges) {
    p.step('setting no_new_privs');
    prctl(p, 'PR_SET_NO_NEW_PRIVS', 1);
  }
  setScheduling(p, plan);
  dropBounding(p, plan);
  setCredentials(p, plan);
  for (const limit of plan.rlimits) {
    p.step(`setting ${limit.name}`);
    setRlimit(p, limit.resource, limit.name, limit.soft, limit.hard);
  }
  // From here no fd of silt's survives exec, whatever it was called.
  p.step('marking silt’s fds close-on-exec');
  p.call('close_range', [3, new Named(0xffffffff, '~0'), flags('CLOSE_RANGE_CLOEXEC')]);
  execFirst(p, plan, () => {
    if (plan.traced) askToBeTraced(p);
    const early = listens(plan);
    if (early) applySeccomp(p, plan);
    parking.wait(early);
    const report = plan.passFds.includes(REPORT_FD) ? duplicate(p, p.report, 'report') : undefined;
    for (const [number, fd] of passed) dupTo(p, fd, number);
    if (!early) applySeccomp(p, plan);
    return report;
  });
  parking.finish?.();
}

function askToBeTraced(p: ProgramBuilder): void {
  p.step('waiting to be traced');
  report(p, 'untraced');
  const { count } = receiveMessage(p, p.report, 16, 0, 'traced');
  const traced = p.label();
  p.jumpIfNotZero(count, traced);
  p.call('exit_group', [1]);
  p.place(traced);
}

/** Above all fds that a program of silt's is given. */
const FIRST_KEPT = LAST_PASSED + 1;

/** Duplicates of the fds that the program gets, beyond all others: their places are silt's own until the process is let go. */
function keepPassedFds(p: ProgramBuilder, plan: ProcessPlan): [number, Slot][] {
  return plan.passFds.map((number) => {
    p.step(`keeping fd ${number} for the program`);
    return [number, duplicate(p, p.donated(passedName(number)), `passed${number}`)];
  });
}

function duplicate(p: ProgramBuilder, fd: Named, name: string): Slot {
  const out = p.slot(name);
  p.call('fcntl', [fd, new Named(C.F_DUPFD_CLOEXEC, 'F_DUPFD_CLOEXEC'), FIRST_KEPT], { out });
  return out;
}

function setStdio(p: ProgramBuilder, openTerminal: (() => Slot) | undefined): void {
  if (!openTerminal) {
    p.step('setting up stdio');
    STDIO.forEach((name, fd) => dupTo(p, p.donated(name), fd));
    return;
  }
  p.scope(() => {
    const slave = openTerminal();
    p.step('making the terminal the controlling one');
    ioctl(p, slave, 'TIOCSCTTY', 0);
    for (const fd of [0, 1, 2]) dupTo(p, slave, fd);
    close(p, slave);
  });
}

export const SCHEDULER_STEP = 'setting the scheduling attributes';

/** While the capabilities for it are still there. */
function setScheduling(p: ProgramBuilder, plan: ProcessPlan): void {
  if (plan.scheduler) {
    p.step(SCHEDULER_STEP);
    p.call('sched_setattr', [0, p.bytes(plan.scheduler, 'sched_attr'), 0]);
  }
  if (plan.ioPriority !== undefined) {
    p.step('setting the I/O priority');
    p.call('ioprio_set', [flags('IOPRIO_WHO_PROCESS'), 0, plan.ioPriority]);
  }
  if (plan.memoryPolicy) {
    p.step('setting the memory policy');
    const { mode, nodes } = plan.memoryPolicy;
    // The kernel counts one bit less than it is told (get_nodes in mm/mempolicy.c).
    const mask = nodes ? ([p.bytes(nodes, 'nodes'), nodes.length * 8 + 1] as const) : ([0, 0] as const);
    p.call('set_mempolicy', [mode, ...mask]);
  }
  if (plan.personality !== undefined) {
    p.step('setting the personality');
    p.call('personality', [plan.personality]);
  }
}

/** sched_setaffinity(2) on the caller. */
export function setAffinity(p: ProgramBuilder, mask: Uint8Array | undefined, when: string): void {
  if (!mask) return;
  p.step(`setting the CPU affinity ${when}`);
  p.call('sched_setaffinity', [0, mask.length, p.bytes(mask, 'cpus')]);
}

function dropBounding(p: ProgramBuilder, plan: ProcessPlan): void {
  p.step('dropping capabilities from the bounding set');
  for (let cap = 0; cap <= plan.lastCapability; cap++) {
    if ((plan.capabilities.bounding >> BigInt(cap)) & 1n) continue;
    prctl(p, 'PR_CAPBSET_DROP', new Named(cap, () => capabilityName(cap)));
  }
}

function capabilityName(cap: number): string {
  const found = Object.entries(C).find(
    ([name, value]) => name.startsWith('CAP_') && name !== 'CAP_LAST_CAP' && value === cap,
  );
  return found?.[0] ?? `${cap}`;
}

/** Whether CAP_SYS_ADMIN stays until the filters are installed. */
function keepsAdmin({ noNewPrivileges, baseline, seccomp }: ProcessPlan): boolean {
  return !noNewPrivileges && (baseline !== undefined || seccomp !== undefined);
}

/** The filters, and what had to wait for them. */
function applySeccomp(p: ProgramBuilder, plan: ProcessPlan): void {
  installFilters(p, plan);
  if (!keepsAdmin(plan)) return;
  p.step('dropping CAP_SYS_ADMIN behind the seccomp filter');
  capset(p, plan.capabilities);
}

/** Both filters, when there are two: the kernel asks each and takes the stricter answer. The spec's may have no `seccomp`. */
function installFilters(p: ProgramBuilder, plan: ProcessPlan): void {
  if (plan.baseline) {
    p.step('installing the baseline seccomp filter');
    setSeccompFilter(p, plan.baseline.bpf, plan.baseline.flags);
  }
  if (!plan.seccomp) return;
  p.step('installing the seccomp filter');
  if (!listens(plan)) {
    setSeccompFilter(p, plan.seccomp.bpf, plan.seccomp.flags);
    return;
  }
  const listener = p.slot('listener');
  setSeccompFilter(p, plan.seccomp.bpf, plan.seccomp.flags, { out: listener });
  p.step('handing over the listener of the seccomp filter');
  report(p, 'listener', [listener]);
  close(p, listener);
}

/**
 * Whether the process's filter has a listener. That is handed over by whoever creates the process, so it is installed before the
 * process parks: from then on somebody answers for the calls that the filter asks about.
 */
function listens({ seccomp }: ProcessPlan): boolean {
  return seccomp !== undefined && (seccomp.flags & C.SECCOMP_FILTER_FLAG_NEW_LISTENER) !== 0;
}

const ADMIN = 1n << BigInt(C.CAP_SYS_ADMIN);

function setCredentials(p: ProgramBuilder, plan: ProcessPlan): void {
  p.step(`becoming user ${plan.uid}:${plan.gid}`);
  prctl(p, 'PR_SET_KEEPCAPS', 1);
  setIds(p, plan.uid, plan.gid, plan.additionalGids);
  prctl(p, 'PR_SET_KEEPCAPS', 0);
  p.step('setting the capability sets');
  const { capabilities } = plan;
  const admin = keepsAdmin(plan) ? ADMIN : 0n;
  capset(p, { ...capabilities, effective: capabilities.effective | admin, permitted: capabilities.permitted | admin });
  for (let cap = 0; cap <= plan.lastCapability; cap++) {
    if (!((plan.capabilities.ambient >> BigInt(cap)) & 1n)) continue;
    prctl(p, 'PR_CAP_AMBIENT', flags('PR_CAP_AMBIENT_RAISE'), { arg3: cap });
  }
}

/** The step that fails when no candidate can be executed; see {@link execFailure}. */
export const LOOKUP_STEP = 'looking for the executable';

/**
 * Finds the first candidate that the user may execute, and executes that one when `before` has run. It is found before
 * parking, so that a missing program fails the creation, as with runc.
 */
function execFirst(p: ProgramBuilder, plan: ProcessPlan, before: () => Slot | undefined): void {
  p.step(LOOKUP_STEP);
  const found: { path: string; label: Label }[] = [];
  for (const path of plan.candidates) {
    p.scope(() => {
      const label = p.label();
      // A directory would be "executable": a trailing "/." asks for one, so first rule it out.
      const isDirectory = accessible(p, `${path}/.`, 'F_OK');
      const next = p.label();
      p.jumpIfZero(isDirectory, next);
      p.jumpIfZero(accessible(p, path, 'X_OK'), label);
      p.place(next);
      found.push({ path, label });
    });
  }
  // Nothing found: fail with the errno of the last candidate's own lookup.
  const last = plan.candidates.at(-1);
  if (last === undefined) p.call('faccessat2', [C.AT_FDCWD, p.string(''), C.X_OK, C.AT_EACCESS]);
  else p.call('faccessat2', [C.AT_FDCWD, p.string(last), flags('X_OK'), flags('AT_EACCESS')]);
  // Only a directory comes here: it is accessible and cannot be executed. The call fails with EBADF.
  p.call('fchdir', [-1]);
  for (const { path, label } of found) {
    p.place(label);
    p.scope(() => {
      const report = before();
      p.step(`executing ${path}`);
      if (!report) return;
      // The report socket's place is the program's now. When exec fails it comes back, and the second failure is told.
      execve(p, path, plan.argv, plan.env, { tolerate: 'all' });
      dupTo(p, report, REPORT_FD, true);
    });
    execve(p, path, plan.argv, plan.env);
  }
}
