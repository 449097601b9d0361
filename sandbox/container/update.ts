import { SiltError } from '../../errors';
import type { IntelRdt, Resources } from '../../oci';
import { applyWrites, planChange, schemataOf, writeSchemata } from '../cgroup';
import { FreezeRecord } from '../state/freeze';
import { withPodLock } from '../state/lock';
import type { ContainerState } from '../state/state';
import type { Workshop } from '../workshop';
import { ownerOf } from './cgroup-owner';
import { replaceDeviceFilter } from './device-filter';

export type Updated = Pick<ContainerState, 'id' | 'pod' | 'bundle' | 'cgroup'>;

/**
 * Changes a running container's limits and device rules, under its pod's lock. On failure what was changed before stays in force.
 *
 * Where systemd disturbs the container it sleeps meanwhile, as under runc, by a lease: a container that is paused stays so, and one whose
 * update is killed wakes.
 * @throws SiltError, see planChange; CONTAINER_NOT_FOUND; SYSTEMD_FAILED; TIMEOUT when it does not freeze.
 */
export async function updateContainer(workshop: Workshop, container: Updated, resources: Resources): Promise<void> {
  const { pod, id } = container;
  await withPodLock(workshop, { pod, id, what: `container ${id}` }, () => change(workshop, container, resources));
}

/**
 * Gives the class of resctrl that a container has other shares, under its pod's lock.
 * @param shares lines such as `L3:0=f`
 * @throws SiltError WRONG_STATE for a container without one of its own; SYSCALL_FAILED.
 */
export async function updateSchemata(
  workshop: Workshop,
  container: Updated,
  shares: Pick<IntelRdt, 'l3CacheSchema' | 'memBwSchema'>,
): Promise<void> {
  const { id, pod, cgroup } = container;
  const { resctrl } = cgroup;
  if (resctrl === undefined) {
    const message = `cannot update the schemata of container ${id}: it has no class of resctrl; give it one by linux.intelRdt of its spec`;
    throw new SiltError('WRONG_STATE', message, { id });
  }
  if (!resctrl.own) {
    const message = `cannot update the schemata of container ${id}: ${resctrl.path} is not its alone, and they are the shares of all that are in it; write them to its file schemata, or leave closID out of the container's spec`;
    throw new SiltError('WRONG_STATE', message, { id, path: resctrl.path });
  }
  await withPodLock(workshop, { pod, id, what: `container ${id}` }, () => {
    writeSchemata(resctrl, schemataOf(shares));
    return Promise.resolve();
  });
}

async function change({ kernel, state }: Workshop, container: Updated, resources: Resources): Promise<void> {
  const { cgroup, pod, id } = container;
  const owner = ownerOf(cgroup);
  const devices = owner.disturbs ? state.readDevices(container) : undefined;
  const { writes, inForce, deviceProgram } = planChange(cgroup, resources, devices && { devices });
  const sleeps = owner.disturbs && writes.length > 0;
  const wake = sleeps ? await new FreezeRecord(kernel, cgroup, state.containerPath(pod, id)).lease() : undefined;
  try {
    await owner.tell(writes, inForce);
    // From now on systemd would write these by itself too.
    if (owner.disturbs && resources.devices?.length) state.writeDevices(container, resources.devices);
    applyWrites(writes);
    if (deviceProgram) replaceDeviceFilter(kernel, cgroup, deviceProgram);
  } finally {
    await wake?.();
  }
}
