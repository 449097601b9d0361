import { type Fd, type ProgramBuilder, setIds, setns } from '../../syscall';

/** What of the pod's a process has to enter to be one of its own. */
export interface PodMembership {
  readonly userns: boolean;
  /** The pod's sandbox holds namespaces of these kinds, to be joined. */
  readonly join: { readonly network: boolean; readonly ipc: boolean; readonly uts: boolean };
}

/**
 * Enters the namespaces that the pod's sandbox holds, and becomes root of its user namespace. Not its pid namespace, which holds
 * for children only, and not its mount namespace, which is nobody's but the sandbox's.
 * @param sandbox a pidfd of the sandbox
 */
export function enterPodNamespaces(p: ProgramBuilder, sandbox: Fd, { userns, join }: PodMembership): void {
  p.step('entering the pod’s namespaces');
  const kinds = [
    userns ? 'CLONE_NEWUSER' : '',
    join.network ? 'CLONE_NEWNET' : '',
    join.ipc ? 'CLONE_NEWIPC' : '',
    join.uts ? 'CLONE_NEWUTS' : '',
  ].filter(Boolean);
  if (kinds.length > 0) setns(p, sandbox, kinds.join('|'));
  if (userns) setIds(p, 0, 0, []);
}
