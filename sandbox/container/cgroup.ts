import { closeSync, constants, openSync } from 'node:fs';
import type { Owner } from '../../gofer';
import type { Spec } from '../../oci';
import { type Kernel, lock } from '../../syscall';
import {
  applyWrites,
  type Cgroup,
  type CgroupPlan,
  createCgroup,
  delegateCgroup,
  makeResctrl,
  planCgroup,
  planResctrl,
  removeCgroup,
  removeCreated,
  removeResctrl,
  type ResctrlPlan,
  resctrlRoot,
  type Write,
} from '../cgroup';
import type { Config } from '../config/config';
import type { Host } from '../host';
import type { Property } from '../systemd';
import { ownerOf } from './cgroup-owner';
import { attachDeviceFilter } from './device-filter';

/** A container's cgroup with all that belongs to it: its files, what its owner is told, the program that filters devices, the class of resctrl. */
export interface ContainerCgroupPlan extends CgroupPlan {
  readonly properties: readonly Property[];
  readonly resctrl: ResctrlPlan | undefined;
}

/** Pure but for looking at the host. @throws SiltError for what can be refused beforehand, see planCgroup, planResctrl. */
export function planContainerCgroup(
  host: Pick<Host, 'hierarchies' | 'systemdRuns' | 'resctrlMount'>,
  { cgroupDriver: driver }: Pick<Config, 'cgroupDriver'>,
  { id, spec: { linux = {}, annotations = {} } }: { readonly id: string; readonly spec: Spec },
): ContainerCgroupPlan {
  const { cgroupsPath, resources, intelRdt } = linux;
  const { hierarchies, systemdRuns } = host;
  const plan = planCgroup({ id, cgroupsPath, resources, hierarchies, driver, systemdRuns });
  const properties = ownerOf(plan.cgroup).plan(plan.writes, annotations);
  if (intelRdt === undefined) return { ...plan, properties, resctrl: undefined };
  const resctrl = planResctrl(intelRdt, id, host.resctrlMount);
  const { path, own, monitor } = resctrl;
  const group = { path, own, ...(monitor !== undefined && { monitor }) };
  return { ...plan, cgroup: { ...plan.cgroup, resctrl: group }, properties, resctrl };
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
  const owner = ownerOf(plan.cgroup);
  const limit = async (writes: readonly Write[]): Promise<void> => {
    await owner.tell(writes);
    applyWrites(writes);
  };
  const holder = await owner.begin(kernel, id, plan.properties);
  try {
    await fill(kernel, plan, delegateTo, holder.pid);
  } catch (error) {
    await holder.release();
    await owner.end();
    throw error;
  }
  return {
    boundUnpacker: () => limit(plan.seedWrites),
    close: () => limit(plan.laterWrites),
    release: () => holder.release(),
  };
}

async function fill(
  kernel: Kernel,
  plan: ContainerCgroupPlan,
  delegateTo: Owner | undefined,
  holder?: number,
): Promise<void> {
  const created = createCgroup(plan, holder);
  try {
    if (delegateTo) delegateCgroup(plan.cgroup, delegateTo);
    if (plan.deviceProgram) attachDeviceFilter(kernel, plan.cgroup, plan.deviceProgram);
    if (plan.resctrl) await makeLocked(kernel, plan.resctrl);
  } catch (error) {
    removeCreated(created);
    throw error;
  }
}

async function makeLocked(kernel: Kernel, plan: ResctrlPlan): Promise<void> {
  const fd = openSync(resctrlRoot(plan), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await lock(kernel, fd);
    makeResctrl(plan);
  } finally {
    closeSync(fd);
  }
}

/** Removes a container's cgroup, which no process is in, and has its owner forget it. May be called again. @throws SiltError, see removeCgroup; SYSTEMD_FAILED. */
export async function removeContainerCgroup(cgroup: Cgroup): Promise<void> {
  await ownerOf(cgroup).end();
  await removeCgroup(cgroup);
  if (cgroup.resctrl) removeResctrl(cgroup.resctrl);
}
