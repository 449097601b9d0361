import type { Owner } from '../../gofer';
import type { Resources, Spec } from '../../oci';
import type { Kernel } from '../../syscall';
import {
  applyWrites,
  type Cgroup,
  type CgroupPlan,
  createCgroup,
  delegateCgroup,
  planCgroup,
  planChange,
  removeCgroup,
  removeCreated,
  type Write,
} from '../cgroup';
import type { Config } from '../config/config';
import { attachDeviceFilter, replaceDeviceFilter } from './device-filter';
import type { Host } from '../host';
import {
  annotatedProperties,
  limitProperties,
  type Property,
  setUnitProperties,
  startPlaceholder,
  startUnit,
  stopUnit,
  systemdRuns,
} from '../systemd';

/** A container's cgroup with all that belongs to it: its files, the unit of systemd's that it may be, the program that filters devices. */
export interface ContainerCgroupPlan extends CgroupPlan {
  readonly unitProperties: readonly Property[];
}

/** Pure but for looking at the host. @throws SiltError for what can be refused beforehand, see planCgroup. */
export function planContainerCgroup(
  host: Pick<Host, 'hierarchies' | 'systemdRuns'>,
  { cgroupDriver: driver }: Pick<Config, 'cgroupDriver'>,
  { id, spec: { linux = {}, annotations = {} } }: { readonly id: string; readonly spec: Spec },
): ContainerCgroupPlan {
  const { cgroupsPath, resources } = linux;
  const { hierarchies, systemdRuns } = host;
  const plan = planCgroup({ id, cgroupsPath, resources, hierarchies, driver, systemdRuns });
  if (!plan.cgroup.unit) return { ...plan, unitProperties: [] };
  return { ...plan, unitProperties: [...limitProperties(plan.writes), ...annotatedProperties(annotations)] };
}

/** A cgroup that waits for its container. */
export interface WaitingCgroup {
  /** Bounds who unpacks a seed in it, until `close`. @throws SiltError; SYSTEMD_FAILED. */
  boundUnpacker(): Promise<void>;
  /** Sets the limits that would have held those back who made the container. @throws SiltError; SYSTEMD_FAILED. */
  close(): Promise<void>;
  /** The container's process is in it, or none will be. May be called again. */
  release(): Promise<void>;
}

/**
 * Makes a container's cgroup as planned.
 * @param delegateTo who may make cgroups beneath it; undefined for host root alone
 * @throws SiltError; nothing is left then.
 */
export async function makeContainerCgroup(
  kernel: Kernel,
  id: string,
  plan: ContainerCgroupPlan,
  delegateTo: Owner | undefined,
): Promise<WaitingCgroup> {
  const { cgroup, unitProperties } = plan;
  const { unit } = cgroup;
  const limit = async (writes: readonly Write[]): Promise<void> => {
    if (unit) await setUnitProperties(unit, limitProperties(writes));
    applyWrites(writes);
  };
  const close = (): Promise<void> => limit(plan.laterWrites);
  const boundUnpacker = (): Promise<void> => limit(plan.seedWrites);
  if (!unit) {
    fill(kernel, plan, delegateTo);
    return { boundUnpacker, close, release: () => Promise.resolve() };
  }
  const placeholder = await startPlaceholder(kernel);
  try {
    await startUnit(unit, id, placeholder.pid, unitProperties);
    try {
      fill(kernel, plan, delegateTo, placeholder.pid);
    } catch (error) {
      await placeholder.release();
      await stopUnit(unit);
      throw error;
    }
    return { boundUnpacker, close, release: () => placeholder.release() };
  } catch (error) {
    await placeholder.release();
    throw error;
  }
}

function fill(kernel: Kernel, plan: ContainerCgroupPlan, delegateTo: Owner | undefined, placeholder?: number): void {
  const created = createCgroup(plan, placeholder);
  try {
    if (delegateTo) delegateCgroup(plan.cgroup, delegateTo);
    if (plan.deviceProgram) attachDeviceFilter(kernel, plan.cgroup, plan.deviceProgram);
  } catch (error) {
    removeCreated(created);
    throw error;
  }
}

/**
 * Changes a running container's limits and device rules. On failure what was changed before stays in force.
 * @throws SiltError, see planChange; SYSTEMD_FAILED.
 */
export async function updateContainerCgroup(kernel: Kernel, cgroup: Cgroup, resources: Resources): Promise<void> {
  const { writes, deviceProgram } = planChange(cgroup, resources);
  if (cgroup.unit) await setUnitProperties(cgroup.unit, limitProperties(writes));
  applyWrites(writes);
  if (deviceProgram) replaceDeviceFilter(kernel, cgroup, deviceProgram);
}

/** Removes a container's cgroup, which no process is in, and the unit that it is. May be called again. @throws SiltError, see removeCgroup; SYSTEMD_FAILED. */
export async function removeContainerCgroup(cgroup: Cgroup): Promise<void> {
  if (cgroup.unit && systemdRuns()) await stopUnit(cgroup.unit);
  await removeCgroup(cgroup);
}
