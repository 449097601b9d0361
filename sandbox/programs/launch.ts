import { everyCpu } from '../../oci';
import { buildRoot, enterRoot, type Owner, type RootPlan, setRootPropagation, shareAgain, UPPER } from '../../gofer';
import {
  C,
  changeRoot,
  chdir,
  cloneTree,
  close,
  type Fd,
  fork,
  open,
  openat,
  prctl,
  type Program,
  ProgramBuilder,
  receiveMessage,
  sendMessage,
  setns,
  type Slot,
  socketPair,
  unshare,
  waitForChild,
  type Word,
} from '../../syscall';
import { parkUntilStart, START, START_SOCKET, type StartGate } from './parking';
import { becomeProcess, prepareAsHostRoot, type ProcessPlan, setAffinity, STDIO } from './process';
import type { CgroupEntry } from '../cgroup';
import { forkInto } from './cgroup-entry';
import { capabilityMask, confine, keepOnly } from './confine';
import { enterOwnNamespaces, JOINED_FDS, type OwnNamespaces } from './own-namespaces';
import { keepUpper } from './kept-mounts';
import { enterPodNamespaces } from './pod-namespaces';
import { report } from './reports';

/** Which pid namespace a container's processes are in. */
export type PidMode =
  /** A new one, child of the pod's. */
  | 'container'
  /** A new one, child of the host's: of a container outside of the pod's user namespace, which cannot make one in the pod's. */
  | 'apart'
  /** One that the pod's containers share; the program is given it as the fd `pidns`. */
  | 'pod'
  /** The host's. */
  | 'host';

export interface LaunchPlan {
  readonly id: string;
  readonly pid: PidMode;
  readonly userns: boolean;
  /** The pod's root, as the host numbers it: the sandbox's files are its. */
  readonly podRoot: Owner;
  readonly gate: StartGate;
  /** Namespaces that are the container's and not the pod's. */
  readonly own: OwnNamespaces;
  /** The pod's sandbox holds namespaces of these kinds, to be joined. */
  readonly join: { readonly network: boolean; readonly ipc: boolean; readonly uts: boolean };
  /** Hooks run before the pivot: the gofer reports that all is mounted, and waits. */
  readonly hooks: boolean;
  readonly cgroup: CgroupEntry;
  /** What silt itself may, as a mask: its processes cannot keep more. */
  readonly ownCapabilities: bigint;
  readonly root: RootPlan;
  readonly process: ProcessPlan;
}

/** Names of the fds that the program is given, besides the stdio and `start` of {@link ProcessPlan} and the gofer's. */
export const LAUNCH_FDS = { sandbox: 'sandbox', pidns: JOINED_FDS.pid } as const;

/**
 * The program that makes a container in a pod whose sandbox runs: three processes that live for milliseconds, and the
 * launcher, which stays and becomes the container's first process.
 *
 *     starter   host root; forks the others, in the end puts the upper into the sandbox's mount namespace
 *     ├ helper  in the pod's pid namespace: joins cgroup and pod, clones the launcher, is gone
 *     ├ gofer   builds the root in the launcher's namespaces, locks it, sends it to the launcher, is gone
 *     launcher  child of the caller (CLONE_PARENT); waits for the root, then for the start
 */
export function launchProgram(plan: LaunchPlan): Program {
  const p = new ProgramBuilder();
  p.step('preparing to start the container');
  // See sandboxProgram: nothing of ours may be looked at by the pod before exec.
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  // One mount namespace for all three: the launcher's pid, which hooks are given, is in the one where the root is built. The host's is the
  // launcher's alone, and the gofer has one for itself.
  if (plan.own.mount === 'new') unshare(p, 'CLONE_NEWNS');
  else if (plan.own.mount === 'joined') setns(p, p.donated(JOINED_FDS.mount), 'CLONE_NEWNS');
  const [mine, theirs] = socketPair(p, 'handover', ['handover_starter', 'handover_launcher']);
  enterPidNamespaceForChildren(p, plan);
  forkInto(p, 'helper', { flags: 'CLONE_PARENT' }, plan.cgroup, () => helper(p, plan, mine, theirs));
  close(p, theirs);
  p.step('waiting for the launcher');
  const launcher = receiveMessage(p, mine, 16, 1, 'launcher');
  endIfNothingCame(p, launcher.count);
  p.step('starting the gofer');
  setns(p, launcher.fds[0]!, goferNamespaces(plan));
  const gofer = startGofer(p, plan, { socket: mine, ...(plan.own.mount === 'host' && { flags: 'CLONE_NEWNS' }) });
  confine(p);
  p.step('waiting for the gofer');
  waitForChild(p, gofer.pid);
  p.step('waiting for the root filesystem');
  close(p, mine);
  if (plan.root.upper) keepUpper(p, plan, gofer.upper());
  report(p, 'built');
  return p.build();
}

function enterPidNamespaceForChildren(p: ProgramBuilder, plan: LaunchPlan): void {
  if (plan.pid === 'host' || plan.pid === 'apart') return;
  p.step('entering the pod’s pid namespace');
  setns(p, p.donated(plan.pid === 'pod' ? LAUNCH_FDS.pidns : LAUNCH_FDS.sandbox), 'CLONE_NEWPID');
}

function goferNamespaces(plan: LaunchPlan): string {
  const kinds = ['CLONE_NEWIPC', 'CLONE_NEWUTS', 'CLONE_NEWNET'];
  if (plan.pid !== 'host') kinds.push('CLONE_NEWPID');
  if (plan.own.cgroup !== 'host') kinds.push('CLONE_NEWCGROUP');
  return kinds.join('|');
}

/** When a peer died it has reported why, or was killed: this process only ends. */
function endIfNothingCame(p: ProgramBuilder, count: Parameters<ProgramBuilder['jumpIfNotZero']>[0]): void {
  const came = p.label();
  p.jumpIfNotZero(count, came);
  p.call('exit_group', [1]);
  p.place(came);
}

function helper(p: ProgramBuilder, plan: LaunchPlan, mine: Word, theirs: Word): void {
  setAffinity(p, everyCpu(), 'to all that the cgroup allows');
  p.scope(() => prepareAsHostRoot(p, plan.process));
  p.scope(() => enterOwnNamespaces(p, plan.own, () => enterPodNamespaces(p, p.donated(LAUNCH_FDS.sandbox), plan)));
  const cloneFlags = ['CLONE_PARENT'];
  if (plan.pid === 'container' || plan.pid === 'apart') cloneFlags.push('CLONE_NEWPID');
  if (plan.own.cgroup === 'new') cloneFlags.push('CLONE_NEWCGROUP');
  p.step('cloning the launcher');
  const launcher = fork(p, 'launcher', { flags: cloneFlags.join('|'), pidfd: true }, () =>
    launcherProcess(p, plan, mine, theirs),
  );
  p.step('reporting the launcher');
  const pidfd = p.keep(launcher.pidfd, 'launcher');
  report(p, 'process', [pidfd]);
  sendMessage(p, theirs, p.bytes(Buffer.from('launcher'), '"launcher"', 1), [pidfd]);
}

function launcherProcess(p: ProgramBuilder, plan: LaunchPlan, mine: Word, theirs: Word): void {
  p.step('waiting for the root filesystem');
  close(p, mine);
  const root = receiveMessage(p, theirs, 16, 1, 'root');
  endIfNothingCame(p, root.count);
  p.step('entering the root filesystem');
  if (plan.own.mount === 'new') setns(p, root.fds[0]!, 'CLONE_NEWNS');
  // In a joined one this process is since it was cloned, and pivot_root(2) has moved its root; its rights there are those of a stranger.
  else if (plan.own.mount === 'joined') chdir(p, '/');
  else changeRoot(p, root.fds[0]!);
  // It may be parked for long: until its exec, nothing of the host and of other namespaces is to be found with it.
  close(p, root.fds[0]!);
  if (plan.root.upper) close(p, p.donated(UPPER));
  if (plan.userns) close(p, p.donated('userns'));
  for (const name of joinedFds(plan)) close(p, p.donated(name));
  const terminal = plan.process.terminal ? () => open(p, '/dev/pts/0', 'O_RDWR|O_NOCTTY') : undefined;
  if (plan.pid === 'host' || plan.pid === 'apart') dieWithParent(p);
  becomeProcess(p, plan.process, terminal, parkUntilStart(p, plan.gate));
}

/** Without a pid namespace the sandbox's end does not end the container, so the shim's end must, or that of the creation. */
function dieWithParent(p: ProgramBuilder): void {
  p.step('asking to die with the shim');
  prctl(p, 'PR_SET_PDEATHSIG', C.SIGKILL);
}

/**
 * What building a root takes, and what the kernel needs when the container writes: an overlay reaches its layers with the rights of
 * whoever mounted it, for as long as it is mounted (overlayfs.rst, "Permission model").
 */
const GOFER_CAPABILITIES = capabilityMask([
  'CAP_SYS_ADMIN',
  // Entering the pod's user namespace and its own copy of the mounts.
  'CAP_SYS_CHROOT',
  // Files of all owners, of all kinds, with all attributes.
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_SETFCAP',
  'CAP_MKNOD',
  'CAP_LINUX_IMMUTABLE',
  'CAP_MAC_ADMIN',
  'CAP_MAC_OVERRIDE',
  // Making files as the pod's root, for a while.
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SETGID',
  // Sysctls of the pod's network.
  'CAP_NET_ADMIN',
]);

/** The fds of namespaces that the container joins by their paths. */
function joinedFds({ pid, own }: LaunchPlan): string[] {
  const joined = (['mount', 'cgroup', 'time'] as const).filter((kind) => own[kind] === 'joined');
  return [...(pid === 'pod' ? [LAUNCH_FDS.pidns] : []), ...joined.map((kind) => JOINED_FDS[kind])];
}

/** Fds of the program that are other processes'. */
function notForGofer(plan: LaunchPlan): string[] {
  const stdio = plan.process.terminal ? [] : STDIO;
  const gate = plan.gate === 'socket' ? [START, START_SOCKET] : [START];
  return [...stdio, ...gate, LAUNCH_FDS.sandbox, ...joinedFds(plan)];
}

export interface GoferOptions {
  /** What the finished mount namespace is sent on. */
  readonly socket: Word;
  /** clone(2) flags. */
  readonly flags?: string;
  /** Names of the program's fds that are for other processes. */
  readonly notNeeded?: readonly string[];
}

/** A child that builds the root, locks it, and sends its mount namespace over the socket. */
export function startGofer(
  p: ProgramBuilder,
  plan: LaunchPlan,
  { socket, flags, notNeeded = notForGofer(plan) }: GoferOptions,
): {
  pid: Slot;
  /** To be asked when the gofer has ended: the mount for {@link keepUpper}. */
  upper: () => Fd;
} {
  const how = flags === undefined ? {} : { flags };
  if (!plan.root.attachLayers || plan.root.upper === null) {
    const { pid } = fork(p, 'gofer', how, () => gofer(p, plan, socket, notNeeded));
    return { pid, upper: () => p.donated(UPPER) };
  }
  const [mine, theirs] = socketPair(p, 'kept', ['kept_starter', 'kept_gofer']);
  const { pid } = fork(p, 'gofer', how, () => {
    close(p, mine);
    gofer(p, plan, socket, notNeeded, theirs);
  });
  close(p, theirs);
  const upper = (): Fd => {
    const received = receiveMessage(p, mine, 16, 1, 'upper');
    endIfNothingCame(p, received.count);
    return received.fds[0]!;
  };
  return { pid, upper };
}

function gofer(
  p: ProgramBuilder,
  plan: LaunchPlan,
  socket: Word,
  notNeeded: readonly string[],
  /** Where it sends the upper that is to be kept, when that is not the one that it was given. */
  keeper?: Word,
): void {
  p.step('opening the gofer’s own entry in /proc');
  // Opened while the host's /proc is there; the namespace's file is looked up through it at the end.
  const self = p.slot('proc_self');
  p.call('openat', [C.AT_FDCWD, p.string('/proc/self'), C.O_PATH | C.O_DIRECTORY | C.O_CLOEXEC, 0], { out: self });
  p.step('dropping what the gofer does not need');
  for (const name of notNeeded) close(p, p.donated(name));
  keepOnly(p, GOFER_CAPABILITIES & plan.ownCapabilities);
  confine(p);
  const root = buildRoot(p, plan.root, {
    sendTerminal: (master) => report(p, 'terminal', [master]),
    sendUpper: (upper) => {
      sendMessage(p, keeper!, p.bytes(Buffer.from('upper'), '"upper"', 1), [upper]);
      close(p, keeper!);
      close(p, upper);
    },
    beforePivot: () => {
      if (plan.hooks) waitForHooks(p, openat(p, self, 'ns/mnt', 'O_RDONLY'));
    },
  });
  if (plan.own.mount === 'host') {
    // Of this namespace's mounts only a copy stays, which holds together without one for as long as a process has its root there
    // (UMOUNT_CONNECTED in dissolve_on_fput, fs/namespace.c).
    p.step('handing the root filesystem over');
    const tree = cloneTree(p, root, '', { recursive: true, name: 'tree' });
    sendMessage(p, socket, p.bytes(Buffer.from('root'), '"root"', 1), [tree]);
    return;
  }
  enterRoot(p, plan.root, root);
  // In a namespace that is not the pod's its root has no say over mounts: nothing is to be locked.
  if (plan.userns && plan.own.mount === 'new') {
    // Host root made the mounts; a copy of them that a process in the pod's user namespace makes is locked: no flag can
    // be cleared and no mount taken away in it (mount_namespaces(7), "Restrictions on mount namespaces").
    p.step('locking the root filesystem');
    setns(p, p.donated('userns'), 'CLONE_NEWUSER');
    unshare(p, 'CLONE_NEWNS');
    // The copy of a shared mount is a slave of what goes away with this process, that of an unbindable one is bindable (6.18).
    if ([C.MS_SHARED, C.MS_UNBINDABLE].includes(plan.root.propagation.type)) setRootPropagation(p, plan.root);
    shareAgain(p, plan.root);
  }
  p.step('handing the root filesystem over');
  const ns = openat(p, self, 'ns/mnt', 'O_RDONLY');
  sendMessage(p, socket, p.bytes(Buffer.from('root'), '"root"', 1), [ns]);
}

function waitForHooks(p: ProgramBuilder, namespace: Slot): void {
  p.step('waiting for the hooks');
  report(p, 'mounted', [namespace]);
  close(p, namespace);
  endIfNothingCame(p, receiveMessage(p, p.report, 16, 0, 'answer').count);
}
