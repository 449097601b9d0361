import { capabilityMasks } from './capabilities';
import { ownsKernel } from './seccomp';
import type { Spec } from './spec';

const ANY_CAPABILITY = 63;

/** Whether a container is what engines call privileged: it may be given the capabilities that own the kernel. */
export function isPrivileged({ process }: Spec): boolean {
  return ownsKernel(capabilityMasks(process?.capabilities ?? {}, ANY_CAPABILITY).bounding);
}
