import { fork, prctl, type Program, ProgramBuilder, setns } from '../../syscall';
import { enterPodNamespaces, type PodMembership } from './pod-namespaces';
import { report } from './reports';
import { waitInEmptyRoot } from './sandbox';

export type HolderPlan = PodMembership;

/** Names of the fds that the program is given: a pidfd of the sandbox, and the read end of a pipe that ends with the pod. */
export const HOLDER_FDS = { sandbox: 'sandbox', control: 'control' } as const;

/**
 * The program that starts process 1 of a pid namespace which all containers of a pod share: a pause container without a
 * container. The sandbox cannot be that process, since whoever shares its pid namespace would see it.
 */
export function holderProgram(plan: HolderPlan): Program {
  const p = new ProgramBuilder();
  p.step('preparing to start the holder of the pod’s pids');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  setns(p, p.donated(HOLDER_FDS.sandbox), 'CLONE_NEWPID');
  p.step('starting the holder’s helper');
  // Only who is in a pid namespace can make one below it.
  fork(p, 'helper', { flags: 'CLONE_PARENT' }, () => {
    enterPodNamespaces(p, p.donated(HOLDER_FDS.sandbox), plan);
    p.step('cloning the holder');
    const flags = 'CLONE_PARENT|CLONE_NEWPID|CLONE_NEWNS';
    const holder = fork(p, 'holder', { flags, pidfd: true }, () => {
      prctl(p, 'PR_SET_NAME', p.string('silt-holder'));
      waitInEmptyRoot(p);
    });
    p.step('reporting the holder');
    report(p, 'process', [p.keep(holder.pidfd, 'holder')]);
  });
  return p.build();
}
