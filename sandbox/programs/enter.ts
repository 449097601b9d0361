import { openSlave } from '../../gofer';
import { everyCpu } from '../../oci';
import {
  C,
  changeRoot,
  close,
  flags,
  fork,
  prctl,
  type Program,
  ProgramBuilder,
  setns,
  type Slot,
} from '../../syscall';
import type { CgroupEntry } from '../cgroup';
import { setTerminalSize } from '../terminal/master';
import { inCgroup, openCgroup } from './cgroup-entry';
import { becomeProcess, prepareAsHostRoot, type ProcessPlan, setAffinity } from './process';
import { report } from './reports';
import { makeGate, openGate, passGate } from './user-namespace';

export interface EnterPlan {
  /** Kinds of namespace in which the container differs from the host, as CLONE_NEW* names. */
  readonly namespaces: readonly string[];
  readonly cgroup: CgroupEntry;
  /** The container has its root filesystem by chroot(2): the program is given it as the fd `root`. */
  readonly chroot: boolean;
  readonly process: ProcessPlan;
}

/** Names of the fds that the program is given: a pidfd of the container's first process, and the root that it has. */
export const ENTER_FDS = { container: 'container', root: 'root' } as const;

/**
 * Who joins the cgroup: what enters the container, and its child is born there; or the process itself, once it has been cloned. The second is
 * slower on the unified hierarchy, and gets in where `pids.max` has no room for two.
 */
export type CgroupJoiner = 'helper' | 'process';

/** The program that runs a further process in a container: joins cgroup and namespaces, clones the child, is gone. */
export function enterProgram(plan: EnterPlan, joiner: CgroupJoiner = 'helper'): Program {
  const p = new ProgramBuilder();
  p.step('preparing to enter the container');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  setAffinity(p, plan.process.affinity.initial, 'for the way into the cgroup');
  if (joiner === 'process') enter(p, plan, openCgroup(p, plan.cgroup));
  else inCgroup(p, plan.cgroup, () => enter(p, plan));
  return p.build();
}

/** @param join adds the way into the cgroup in the process itself; undefined where this one is in it */
function enter(p: ProgramBuilder, plan: EnterPlan, join?: () => void): void {
  if (!join) setAffinityInCgroup(p, plan);
  p.scope(() => prepareAsHostRoot(p, plan.process));
  p.step('entering the container');
  // Before there is a child in the container's pid namespace: it shows nothing of the host's files.
  if (plan.chroot) {
    changeRoot(p, p.donated(ENTER_FDS.root));
    close(p, p.donated(ENTER_FDS.root));
  }
  if (plan.namespaces.length > 0) setns(p, p.donated(ENTER_FDS.container), plan.namespaces.join('|'));
  p.step('cloning the process');
  const gate = makeGate(p);
  const child = fork(p, 'process', { flags: 'CLONE_PARENT', pidfd: true }, () => {
    // Until it is reported it must not leave the starter's process group, by which it is killed and reaped.
    passGate(p, gate, 'waiting to be reported');
    if (join) {
      join();
      setAffinityInCgroup(p, plan);
    }
    p.step('becoming the process');
    if (plan.namespaces.includes('CLONE_NEWUSER')) {
      p.call('setgroups', [0, 0]);
      p.call('setresgid', [0, 0, 0]);
      p.call('setresuid', [0, 0, 0]);
    }
    const terminal = plan.process.terminal ? () => newTerminal(p, plan.process) : undefined;
    becomeProcess(p, plan.process, terminal, { wait: () => report(p, 'ready') });
  });
  p.step('reporting the process');
  report(p, 'process', [p.keep(child.pidfd, 'process')]);
  openGate(p, gate);
}

/** What the caller was bound to is no business of the container's, unless the spec wants it so. */
function setAffinityInCgroup(p: ProgramBuilder, { process }: EnterPlan): void {
  const { initial, final } = process.affinity;
  setAffinity(p, final ?? (initial ? undefined : everyCpu()), 'in the cgroup');
}

/**
 * A new pty in the container's devpts. The container may have replaced /dev/ptmx: the shim checks that what it is sent is
 * a pty's master before it uses it.
 */
function newTerminal(p: ProgramBuilder, plan: ProcessPlan): Slot {
  p.step('opening a terminal');
  const master = p.slot('master');
  p.call('openat', [C.AT_FDCWD, p.string('/dev/ptmx'), flags('O_RDWR|O_NOCTTY|O_CLOEXEC'), 0], { out: master });
  const slave = openSlave(p, master, 'O_RDWR|O_NOCTTY');
  p.call('fchown', [slave, plan.uid, -1]);
  if (plan.terminalSize) setTerminalSize(p, master, plan.terminalSize);
  report(p, 'terminal', [master]);
  p.call('close', [master], { tolerate: 'all' });
  return slave;
}
