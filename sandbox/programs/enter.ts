import { everyCpu } from '../../oci';
import { C, flags, fork, joinCgroup, prctl, type Program, ProgramBuilder, setns, type Slot } from '../../syscall';
import { setTerminalSize } from '../terminal/master';
import { becomeProcess, prepareAsHostRoot, type ProcessPlan, setAffinity } from './process';
import { report } from './reports';
import { makeGate, openGate, passGate } from './user-namespace';

export interface EnterPlan {
  /** Kinds of namespace in which the container differs from the host, as CLONE_NEW* names. */
  readonly namespaces: readonly string[];
  readonly cgroupFiles: readonly string[];
  readonly process: ProcessPlan;
}

/** Name of the fd that the program is given: a pidfd of the container's first process. */
export const ENTER_FDS = { container: 'container' } as const;

/** The program that runs a further process in a container: joins cgroup and namespaces, clones the child, is gone. */
export function enterProgram(plan: EnterPlan): Program {
  const p = new ProgramBuilder();
  p.step('preparing to enter the container');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  setAffinity(p, plan.process.affinity.initial, 'for the way into the cgroup');
  p.step('joining the container’s cgroup');
  for (const file of plan.cgroupFiles) p.scope(() => joinCgroup(p, file));
  const { initial, final } = plan.process.affinity;
  // What the caller was bound to is no business of the container's, unless the spec wants it so.
  setAffinity(p, final ?? (initial ? undefined : everyCpu()), 'in the cgroup');
  p.scope(() => prepareAsHostRoot(p, plan.process));
  p.step('entering the container');
  setns(p, p.donated(ENTER_FDS.container), plan.namespaces.join('|'));
  p.step('cloning the process');
  const gate = makeGate(p);
  const child = fork(p, 'process', { flags: 'CLONE_PARENT', pidfd: true }, () => {
    // Until it is reported it must not leave the starter's process group, by which it is killed and reaped.
    passGate(p, gate, 'waiting to be reported');
    p.step('becoming the process');
    if (plan.namespaces.includes('CLONE_NEWUSER')) {
      p.call('setgroups', [0, 0]);
      p.call('setresgid', [0, 0, 0]);
      p.call('setresuid', [0, 0, 0]);
    }
    becomeProcess(p, plan.process, plan.process.terminal ? () => newTerminal(p, plan.process) : undefined, () =>
      report(p, 'ready'),
    );
  });
  p.step('reporting the process');
  report(p, 'process', [p.keep(child.pidfd, 'process')]);
  openGate(p, gate);
  return p.build();
}

/**
 * A new pty in the container's devpts. The container may have replaced /dev/ptmx: the shim checks that what it is sent is
 * a pty's master before it uses it.
 */
function newTerminal(p: ProgramBuilder, plan: ProcessPlan): Slot {
  p.step('opening a terminal');
  const master = p.slot('master');
  p.call('openat', [C.AT_FDCWD, p.string('/dev/ptmx'), flags('O_RDWR|O_NOCTTY|O_CLOEXEC'), 0], { out: master });
  p.call('ioctl', [master, flags('TIOCSPTLCK'), p.space(4, '{0}')]);
  const slave = p.slot('slave');
  // By fd, not by name: the name in /dev/pts is the container's to change (ioctl_tty(2), Linux 4.13).
  p.call('ioctl', [master, flags('TIOCGPTPEER'), flags('O_RDWR|O_NOCTTY|O_CLOEXEC')], { out: slave });
  p.call('fchown', [slave, plan.uid, -1]);
  if (plan.terminalSize) setTerminalSize(p, master, plan.terminalSize);
  report(p, 'terminal', [master]);
  p.call('close', [master], { tolerate: 'all' });
  return slave;
}
