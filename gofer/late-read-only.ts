import { C } from '../syscall';
import type { FilesystemStep, MountStep, RootPlan } from './root-plan';

/**
 * Whether a filesystem that the spec wants read-only has to be written to until the root is complete: mount points, device nodes or the
 * working directory are still to be made in it. Something else mounted at its own place later would hide it, and it stays as it is.
 */
export function isWrittenLater(
  step: MountStep,
  { mounts, workingDirectory, deviceLinks, devices }: RootPlan,
): step is FilesystemStep {
  if (step.kind !== 'filesystem' || (step.options.attrSet & C.MOUNT_ATTR_RDONLY) === 0) return false;
  const later = mounts.slice(mounts.indexOf(step) + 1).map(({ destination }) => destination);
  if (later.includes(step.destination)) return false;
  const isBelow = (path: string): boolean => path.startsWith(`${step.destination}/`);
  return (
    [...later, workingDirectory, ...devices.map(({ path }) => path)].some(isBelow) ||
    (step.destination === '/dev' && deviceLinks)
  );
}

/** The same mount, to be written to for now. */
export function writable(step: FilesystemStep): FilesystemStep {
  return { ...step, options: { ...step.options, attrSet: step.options.attrSet & ~C.MOUNT_ATTR_RDONLY } };
}
