import {
  chdir,
  dupTo,
  execve,
  flags,
  fork,
  Named,
  prctl,
  type Program,
  ProgramBuilder,
  setIds,
  setns,
} from '../../syscall';
import type { CgroupEntry } from '../cgroup';
import { inCgroup } from './cgroup-entry';
import { STDIO } from './process';
import { report } from './reports';
import { makeGate, openGate, passGate } from './user-namespace';

export interface HookPlan {
  /** Absolute, in the mount namespace that the hook runs in. */
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /**
   * CLONE_NEW* names of what is entered first, by the pidfd `container`, CLONE_NEWNS by the fd `mount`; none leaves the hook where the
   * runtime is.
   */
  readonly namespaces: readonly string[];
  readonly cgroup: CgroupEntry;
  /** Entered once the namespaces are; stays as it is when undefined. */
  readonly cwd: string | undefined;
}

/**
 * Names of the fds that the program is given, besides stdio: a pidfd of the container's first process, and the mount namespace in which its root
 * is built, where a process that CRIU restores is not yet.
 */
export const HOOK_FDS = { container: 'container', mount: 'mount' } as const;

/** The step that fails when a hook cannot be executed. */
export const HOOK_EXEC_STEP = 'executing the hook';

/**
 * The program that runs a hook as host root, or as the root of the container's user namespace when that is among
 * the namespaces that it enters. The hook becomes a child of the caller, in a session of its own.
 */
export function hookProgram(plan: HookPlan): Program {
  const p = new ProgramBuilder();
  p.step('preparing to run the hook');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  inCgroup(p, plan.cgroup, () => startHook(p, plan));
  return p.build();
}

function startHook(p: ProgramBuilder, plan: HookPlan): void {
  if (plan.namespaces.length > 0) {
    p.step('entering the container’s namespaces');
    if (plan.namespaces.includes('CLONE_NEWNS')) setns(p, p.donated(HOOK_FDS.mount), 'CLONE_NEWNS');
    const others = plan.namespaces.filter((name) => name !== 'CLONE_NEWNS');
    if (others.length > 0) setns(p, p.donated(HOOK_FDS.container), others.join('|'));
  }
  p.step('cloning the hook’s process');
  const gate = makeGate(p);
  const child = fork(p, 'hook', { flags: 'CLONE_PARENT', pidfd: true }, () => {
    passGate(p, gate, 'waiting to be reported');
    p.call('setsid', []);
    STDIO.forEach((name, fd) => dupTo(p, p.donated(name), fd));
    if (plan.cwd !== undefined) {
      p.step(`entering the hook’s working directory ${plan.cwd}`);
      // Still as the host's root: the way there need not be open to the container's.
      chdir(p, plan.cwd);
    }
    if (plan.namespaces.includes('CLONE_NEWUSER')) setIds(p, 0, 0, []);
    p.call('close_range', [3, new Named(0xffffffff, '~0'), flags('CLOSE_RANGE_CLOEXEC')]);
    // By now it has left the starter's process group, whose end is waited for.
    report(p, 'ready');
    p.step(HOOK_EXEC_STEP);
    execve(p, plan.path, plan.argv, plan.env);
  });
  p.step('reporting the hook’s process');
  report(p, 'process', [p.keep(child.pidfd, 'hook')]);
  openGate(p, gate);
}
