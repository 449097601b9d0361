/** The programs around CRIU: the one that dumps from the host's side, and those that restore into a pod. */
import {
  AT_FDCWD,
  attachAt,
  C,
  chdir,
  cloneTree,
  close,
  closeRange,
  dupTo,
  execve,
  type Fd,
  fork,
  fsconfigCreate,
  fsmount,
  fsopen,
  mkdirat,
  mount,
  mountSetattr,
  openat,
  pivotRoot,
  prctl,
  type Program,
  ProgramBuilder,
  read,
  receiveMessage,
  sendMessage,
  setns,
  socketPair,
  umount,
  unshare,
  waitForChild,
  type Word,
} from '../../syscall';
import { forkInto } from './cgroup-entry';
import { confine, keepOnly } from './confine';
import { keepUpper } from './kept-mounts';
import { type LaunchPlan, LAUNCH_FDS, startGofer } from './launch';
import { enterPodNamespaces } from './pod-namespaces';
import { prepareAsHostRoot } from './process';
import { report } from './reports';

/** CRIU as an executable; it may be a script. */
export interface CriuCommand {
  readonly path: string;
  /** Host files and directories that it needs when the host's filesystem is out of sight. */
  readonly needs: readonly { readonly path: string; readonly directory: boolean }[];
}

/** CRIU's images on the host. */
export interface CriuImages {
  readonly directory: string;
  readonly names: readonly string[];
}

/** Names of the fds that the programs are given. */
export const CRIU_FDS = {
  /** CRIU's end of the RPC socket. */
  rpc: 'rpc',
  /** A detached tmpfs, for CRIU's /run. */
  run: 'run',
  /** CRIU's standard error. */
  log: 'criu-log',
  /** The holder's end of a socket on which it is sent the new mount namespace. */
  handover: 'handover',
  /** What CRIU keeps open as long as it lives. */
  kept: 'kept',
  /** The network namespace that CRIU dumps from. */
  network: 'netns',
  /** Pidfd of the container's first process. */
  init: 'init',
  /** A pipe on which the gofer of a restore is told that process's pid. */
  pid: 'pid',
} as const;

/** A pid as the gofer of a restore is told it: four bytes, the least first, as on all machines that silt runs on. */
const PID_SIZE = 4;

/** Where CRIU's process has its RPC socket, what it keeps open, and the first of the fds that restored processes inherit. */
const RPC_FD = 3;
const KEPT_FD = 4;
export const FIRST_INHERITED_FD = 10;
/** While they are put in order, fds lie here, out of the way. */
const ASIDE = 500;
/** The image directory and CRIU's /run, as CRIU sees them while it restores. */
export const CRIU_PATHS = { images: '/images', run: '/run' } as const;

const ENVIRONMENT = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  // Where it keeps what it has found out of the kernel, when it is not host root.
  `XDG_RUNTIME_DIR=${CRIU_PATHS.run}`,
  // FI_NO_BREAKPOINTS (criu/include/fault-injection.h): it stops threads at their system calls, as it does where a CPU has no breakpoints
  // left. For a breakpoint the kernel waits, for each thread, until all processors have seen it (synchronize_rcu): 2 to 15 ms.
  'CRIU_FAULT=130',
];

/**
 * CRIU on the host, in a mount namespace of its own only for the sake of its /run. It outlives the caller: killed while its code is in a
 * process of the container it would take that along, and the end of its socket makes it take everything back.
 */
export function dumpProgram(criu: CriuCommand, { kept, network }: { kept: boolean; network: boolean }): Program {
  const p = new ProgramBuilder();
  p.step('preparing to start CRIU');
  p.call('setpgid', [0, 0]);
  fork(p, 'criu', { flags: 'CLONE_PARENT|CLONE_NEWNS' }, () => {
    introduce(p, 'criu');
    if (network) {
      p.step('entering the network namespace');
      setns(p, p.donated(CRIU_FDS.network), 'CLONE_NEWNET');
    }
    p.step('giving CRIU its /run');
    mount(p, 'none', '/', null, 'MS_REC|MS_SLAVE');
    attachAt(p, p.donated(CRIU_FDS.run), AT_FDCWD, '/run');
    becomeCriu(p, criu, kept ? [[CRIU_FDS.kept, KEPT_FD]] : []);
  });
  return p.build();
}

/** Leaves the starter's process group, which is waited for, and reports itself with a pidfd. */
function introduce(p: ProgramBuilder, name: 'criu' | 'holder'): void {
  p.step(`reporting the ${name}`);
  p.call('setsid', []);
  const pid = p.slot('pid');
  p.call('getpid', [], { out: pid });
  const pidfd = p.slot('pidfd');
  p.call('pidfd_open', [pid, 0], { out: pidfd });
  report(p, name, [pidfd]);
}

/**
 * CRIU in a pod: in its namespaces and the container's cgroup, with a root of its own in which there is nothing but CRIU, the
 * image, and the pod's /proc. What it restores is a child of the caller (rst_sibling) in a new pid namespace.
 *
 * Beside it the *holder*: a process that waits for the finished mount namespace and enters it, so that CRIU's `join_ns` finds
 * it by the holder's pid. It ends with the other end of its socket.
 * @param preload path of a library that is loaded into CRIU, as CRIU sees it
 */
export function restoreProgram(
  plan: LaunchPlan,
  criu: CriuCommand,
  images: CriuImages,
  inherited: readonly string[],
  preload: string | undefined,
): Program {
  const p = new ProgramBuilder();
  p.step('preparing to restore the container');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  p.step('entering the pod’s pid namespace');
  setns(p, p.donated(LAUNCH_FDS.sandbox), 'CLONE_NEWPID');
  forkInto(p, 'helper', { flags: 'CLONE_PARENT' }, plan.cgroup, () => {
    p.scope(() => prepareAsHostRoot(p, { ...plan.process, oomScoreAdj: undefined }));
    enterCriuRoot(p, criu, images, plan.userns);
    enterPodNamespaces(p, p.donated(LAUNCH_FDS.sandbox), plan);
    fork(p, 'holder', { flags: 'CLONE_PARENT' }, () => hold(p));
    p.step('starting CRIU');
    const flags = plan.own.cgroup === 'new' ? 'CLONE_PARENT|CLONE_NEWCGROUP' : 'CLONE_PARENT';
    fork(p, 'criu', { flags }, () => {
      introduce(p, 'criu');
      becomeCriu(
        p,
        criu,
        inherited.map((name, i) => [name, FIRST_INHERITED_FD + i]),
        preload === undefined ? [] : [`LD_PRELOAD=${preload}`],
      );
    });
  });
  return p.build();
}

/** The holder ends when its socket does: before the namespace came, or after everything is done. */
function hold(p: ProgramBuilder): void {
  introduce(p, 'holder');
  for (const name of [CRIU_FDS.rpc, CRIU_FDS.log]) close(p, p.donated(name));
  p.step('waiting for the root filesystem');
  // Dumpable is what lets CRIU look up the namespace; by then this process sees the container's files and nothing else.
  const received = receiveMessage(p, p.donated(CRIU_FDS.handover), 16, 1, 'root');
  const end = p.label();
  p.jumpIfZero(received.count, end);
  setns(p, received.fds[0]!, 'CLONE_NEWNS');
  prctl(p, 'PR_SET_DUMPABLE', 1);
  report(p, 'held');
  receiveMessage(p, p.donated(CRIU_FDS.handover), 16, 0, 'end');
  p.place(end);
}

/** A root with CRIU, its libraries, the image and the pod's /proc: whatever happens to CRIU, no other host file is in reach. */
function enterCriuRoot(p: ProgramBuilder, criu: CriuCommand, images: CriuImages, userns: boolean): void {
  p.step('building CRIU’s root');
  unshare(p, 'CLONE_NEWNS');
  mount(p, 'none', '/', null, 'MS_REC|MS_PRIVATE');
  // As the sandbox does: /proc is a directory on every host, and the rest of the old root goes with it.
  mount(p, 'silt-criu', '/proc', 'tmpfs', 'MS_NOSUID|MS_NODEV', 'mode=755,size=1m');
  const tolerate = { tolerate: ['EEXIST'] };
  for (const { path, directory } of criu.needs) {
    p.step(`giving CRIU ${path}`);
    const parts = path.split('/').filter(Boolean);
    const parents = directory ? parts : parts.slice(0, -1);
    parents.forEach((_, i) => mkdirat(p, AT_FDCWD, `/proc/${parts.slice(0, i + 1).join('/')}`, 0o755, tolerate));
    p.scope(() => {
      if (!directory) close(p, openat(p, AT_FDCWD, `/proc${path}`, 'O_WRONLY|O_CREAT', { mode: 0o644 }));
      const tree = cloneTree(p, AT_FDCWD, path, { recursive: directory });
      mountSetattr(p, tree, { set: C.MOUNT_ATTR_RDONLY | C.MOUNT_ATTR_NOSUID, recursive: directory });
      attachAt(p, tree, AT_FDCWD, `/proc${path}`);
      close(p, tree);
    });
  }
  p.step('giving CRIU the image');
  for (const name of [CRIU_PATHS.images, CRIU_PATHS.run, '/proc', '/tmp'])
    mkdirat(p, AT_FDCWD, `/proc${name}`, 0o755, tolerate);
  giveImages(p, images, userns);
  p.scope(() => {
    attachAt(p, p.donated(CRIU_FDS.run), AT_FDCWD, `/proc${CRIU_PATHS.run}`);
    p.step('giving CRIU the pod’s /proc');
    const proc = mountedProc(p);
    attachAt(p, proc, AT_FDCWD, '/proc/proc');
    close(p, proc);
  });
  p.step('leaving the host’s filesystem');
  chdir(p, '/proc');
  pivotRoot(p, '.', '.');
  umount(p, '.');
  chdir(p, '/');
}

/**
 * Whoever is root of a user namespace cannot look into the image's directory, which is closed to all but host root. It is given one of
 * its own with each of the files: those it may read.
 */
function giveImages(p: ProgramBuilder, { directory, names }: CriuImages, userns: boolean): void {
  const give = (path: string, to: string): void =>
    p.scope(() => {
      const tree = cloneTree(p, AT_FDCWD, path);
      mountSetattr(p, tree, { set: C.MOUNT_ATTR_RDONLY | C.MOUNT_ATTR_NODEV | C.MOUNT_ATTR_NOSUID });
      attachAt(p, tree, AT_FDCWD, to);
      close(p, tree);
    });
  const at = `/proc${CRIU_PATHS.images}`;
  if (!userns) {
    give(directory, at);
    return;
  }
  for (const name of names) {
    p.scope(() => close(p, openat(p, AT_FDCWD, `${at}/${name}`, 'O_WRONLY|O_CREAT', { mode: 0o644 })));
    give(`${directory}/${name}`, `${at}/${name}`);
  }
}

/** A detached proc of the pid namespace that the process is in. */
function mountedProc(p: ProgramBuilder): Fd {
  const context = fsopen(p, 'proc');
  fsconfigCreate(p, context);
  const proc = fsmount(p, context, C.MOUNT_ATTR_NOSUID | C.MOUNT_ATTR_NODEV | C.MOUNT_ATTR_NOEXEC, 'proc');
  close(p, context);
  return proc;
}

/** Puts the fds where CRIU expects them and executes it. */
function becomeCriu(
  p: ProgramBuilder,
  criu: CriuCommand,
  further: readonly (readonly [string, number])[],
  environment: readonly string[] = [],
): void {
  p.step('starting CRIU');
  const wanted: (readonly [string, number])[] = [
    [CRIU_FDS.log, 1],
    [CRIU_FDS.log, 2],
    [CRIU_FDS.rpc, RPC_FD],
    ...further,
  ];
  wanted.forEach(([name], i) => dupTo(p, p.donated(name), ASIDE + i, true));
  dupTo(p, p.report, ASIDE + wanted.length, true);
  // Everything of ours goes at exec; what CRIU keeps is duplicated after this.
  p.call('close_range', [RPC_FD, ASIDE - 1, 0]);
  wanted.forEach(([, at], i) => dupTo(p, ASIDE + i, at));
  p.step(`executing ${criu.path}`);
  execve(p, criu.path, ['criu', 'swrk', `${RPC_FD}`], [...ENVIRONMENT, ...environment]);
}

/**
 * The gofer of a restore. It may be started early: it waits to be told, in four bytes, which pid the first process has in the pod's pid
 * namespace, and ends when it is told nothing. That process is alone in its pid namespace then and held by CRIU. The gofer builds
 * the root in its namespaces, locks it, hands it to the holder, and puts the upper into the sandbox.
 *
 * With a user namespace the kernel lets CRIU mount proc only where a proc is fully visible, and the container's is masked. So
 * a second one covers it until {@link uncoverProgram} takes it away again; no process of the container runs meanwhile.
 */
export function restoreRootProgram(plan: LaunchPlan): Program {
  const p = new ProgramBuilder();
  p.step('preparing to build the root filesystem');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  const [mine, theirs] = socketPair(p, 'handover', ['handover_starter', 'handover_gofer']);
  p.step('waiting for the restored process');
  const told = read(p, p.donated(CRIU_FDS.pid), PID_SIZE);
  const never = p.label();
  p.jumpIfZero(told.count, never);
  close(p, p.donated(CRIU_FDS.pid));
  const podPid = p.word(told.buffer, 32, 'pid');
  p.step('finding the restored process');
  setns(p, p.donated(LAUNCH_FDS.sandbox), 'CLONE_NEWPID');
  const finder = fork(p, 'finder', {}, () => {
    const pidfd = p.slot('pidfd');
    p.call('pidfd_open', [podPid, 0], { out: pidfd });
    sendMessage(p, theirs, p.bytes(Buffer.from('init'), '"init"', 1), [pidfd]);
  });
  waitForChild(p, finder.pid);
  const found = receiveMessage(p, mine, 16, 1, 'init');
  const init = p.keep(found.fds[0]!, 'init');
  report(p, 'process', [init]);
  const standIn = plan.hooks ? startStandIn(p, plan, init, [mine, theirs]) : undefined;
  p.step('entering the container’s namespaces');
  setns(p, init, restoredNamespaces(plan));
  p.step('starting the gofer');
  const notNeeded = [LAUNCH_FDS.sandbox, CRIU_FDS.handover];
  // Beside a stand-in it builds the root in the mount namespace that the two have already.
  const gofer = startGofer(p, plan, { socket: theirs, notNeeded, ...(standIn ? {} : { flags: 'CLONE_NEWNS' }) });
  close(p, theirs);
  p.step('waiting for the root filesystem');
  const received = receiveMessage(p, mine, 16, 1, 'root');
  // Also when nothing came: who is left behind would be process 1's to reap.
  waitForChild(p, gofer.pid);
  standIn?.end();
  const came = p.label();
  p.jumpIfNotZero(received.count, came);
  p.call('exit_group', [1]);
  p.place(came);
  const ns = p.keep(received.fds[0]!, 'root');
  if (plan.userns) {
    p.step('covering /proc while CRIU works');
    const cover = fork(p, 'cover', {}, () => {
      const proc = mountedProc(p);
      setns(p, ns, 'CLONE_NEWNS');
      attachAt(p, proc, AT_FDCWD, '/proc');
    });
    waitForChild(p, cover.pid);
  }
  sendMessage(p, p.donated(CRIU_FDS.handover), p.bytes(Buffer.from('root'), '"root"', 1), [ns]);
  close(p, mine);
  keepUpper(p, plan, gofer.upper());
  report(p, 'built');
  p.place(never);
  return p.build();
}

/**
 * A process that hooks can be given for the container's first one, which is in a mount namespace of CRIU's as long as they run: it is in the one
 * where the root is built, in every other namespace of the container and in its cgroup, as a parked launcher is at a start, and sleeps. It
 * has to be gone before CRIU goes on: the pid that it has in the container's pid namespace may be one that is to be restored.
 * @param sockets the starter's own, which it has no part in
 * @returns what adds its end
 */
function startStandIn(
  p: ProgramBuilder,
  plan: LaunchPlan,
  init: Fd,
  sockets: readonly [Word, Word],
): { end: () => void } {
  p.step('making the mount namespace of the root filesystem');
  unshare(p, 'CLONE_NEWNS');
  p.step('entering the container’s pid namespace');
  setns(p, init, 'CLONE_NEWPID');
  const [mine, theirs] = socketPair(p, 'stand_in', ['stand_in_starter', 'stand_in_own']);
  // Before this process is in the container's cgroup namespace, from which the host's cgroup may be out of sight.
  const { pid, pidfd } = forkInto(p, 'stand-in', { pidfd: true }, plan.cgroup, () => {
    for (const socket of [...sockets, mine]) close(p, socket);
    if (plan.own.cgroup === 'new') setns(p, init, 'CLONE_NEWCGROUP');
    enterPodNamespaces(p, p.donated(LAUNCH_FDS.sandbox), plan);
    // After the change of ids, which clears it (prctl(2)).
    prctl(p, 'PR_SET_PDEATHSIG', C.SIGKILL);
    p.step('standing in for the restored process');
    sendMessage(p, theirs, p.bytes(Buffer.from('there'), '"there"', 1), []);
    closeRange(p, 0);
    keepOnly(p, 0n);
    confine(p);
    p.call('ppoll', [0, 0, 0, 0, 8], { retry: true });
  });
  close(p, theirs);
  p.step('waiting for the stand-in of the restored process');
  const there = receiveMessage(p, mine, 16, 0, 'there');
  const came = p.label();
  p.jumpIfNotZero(there.count, came);
  p.call('exit_group', [1]);
  p.place(came);
  close(p, mine);
  const standIn = p.keep(pidfd, 'stand_in');
  report(p, 'standIn', [standIn]);
  const end = (): void => {
    p.step('ending the stand-in of the restored process');
    // A hook may have done so already.
    p.call('pidfd_send_signal', [standIn, C.SIGKILL, 0, 0], { tolerate: ['ESRCH'] });
    waitForChild(p, pid);
  };
  return { end };
}

function restoredNamespaces(plan: LaunchPlan): string {
  const kinds = ['CLONE_NEWIPC', 'CLONE_NEWUTS', 'CLONE_NEWNET', 'CLONE_NEWPID'];
  if (plan.own.cgroup === 'new') kinds.push('CLONE_NEWCGROUP');
  return kinds.join('|');
}

/** Takes the cover off /proc again, see {@link restoreRootProgram}. */
export function uncoverProgram(): Program {
  const p = new ProgramBuilder();
  p.step('uncovering /proc');
  p.call('setpgid', [0, 0]);
  setns(p, p.donated(CRIU_FDS.init), 'CLONE_NEWNS');
  umount(p, '/proc');
  return p.build();
}
