import { basename } from 'node:path';
import { planBlockIO } from './block-io';
import { findDirectory, requireDirectory, type Cgroup } from './cgroup';
import { planCpu } from './cpu';
import { directoriesDownTo, planInheritance, type Inheritance } from './cpuset';
import { allowsEverything, compileDeviceProgram } from './device-program';
import { parseDevicePolicy } from './device-rules';
import { parseDevicesList, planDeviceTable, toDeviceTable } from './devices-v1';
import { planHugepages, planNetwork, planPids, planRdma, planUnified } from './limits';
import { locateCgroup, type Location } from './location';
import { planMemory } from './memory';
import type { LimitsInForce, Planning, Write } from './values';
import { SiltError } from '../../errors';
import type { Resources } from '../../oci';

/** Everything that making one container's cgroup comes to, in order. Plain data. */
export interface CgroupPlan {
  readonly cgroup: Cgroup;
  /** Directories to make if they are not there, parents before children. */
  readonly directories: readonly string[];
  /** v2: controllers to switch on in the parents, as far as they can be. */
  readonly delegations: readonly Write[];
  /** v1: cpuset files that take over their parent's value while empty. */
  readonly inheritances: readonly Inheritance[];
  readonly writes: readonly Write[];
  /**
   * What is written once the container's first process is in: a limit of its processes would count those that make it. The kernel holds
   * nobody back who is there already, or moves in (pids controller, cgroup-v2.rst).
   */
  readonly laterWrites: readonly Write[];
  /** What bounds the unpacker of the container's seed before that: the same limits, with room for its threads. */
  readonly seedWrites: readonly Write[];
  /**
   * v2: the BPF program to attach to the directory before a process enters (see device-program.ts); undefined: none
   * needed.
   */
  readonly deviceProgram: Uint8Array | undefined;
}

/** What an update writes, in order, and the BPF program that replaces the present one (v2, when devices are given). */
export interface UpdatePlan {
  readonly writes: readonly Write[];
  readonly deviceProgram: Uint8Array | undefined;
}

export interface CgroupRequest extends Location {
  /** `linux.resources` of the spec. */
  readonly resources: Resources | undefined;
}

const AT = '$.linux.resources';

/*
 * systemd and the devices of v1: whenever it is told of any limit of a unit it writes that unit's table of devices anew, as far as it can
 * say it (systemd.resource-control(5), DeviceAllow=). So it is told the whole table each time, and after it the table is written again.
 */

/** Processes and threads that the unpacker of a seed may have, and those that start it, whatever the container may. */
const UNPACKER_PIDS = 64n;

function withRoomToUnpack(write: Write): Write {
  const { value } = write;
  return /^\d+$/.test(value) && BigInt(value) < UNPACKER_PIDS ? { ...write, value: String(UNPACKER_PIDS) } : write;
}

/**
 * Switches every controller on from the mount point down to the container's parent, so that its directory has their
 * files.
 */
function planDelegations(cgroup: Cgroup): Write[] {
  if (cgroup.mode !== 'v2') return [];
  return cgroup.directories.flatMap((directory) => {
    const controllers = directory.controllers.filter(
      (controller) => controller !== 'devices' && controller !== 'freezer',
    );
    const parents = [directory.mountPoint, ...directoriesDownTo(directory).slice(0, -1)];
    if (controllers.length === 0) return [];
    const value = controllers.map((controller) => `+${controller}`).join(' ');
    return parents.map((parent) => ({
      file: `${parent}/cgroup.subtree_control`,
      value,
      why: 'controllers for what lies beneath',
      optional: true,
    }));
  });
}

function planLimits(resources: Resources, planning: Planning): Write[] {
  return [
    ...planMemory(resources.memory, planning),
    ...planCpu(resources.cpu, planning),
    ...planPids(resources.pids, planning),
    ...planBlockIO(resources.blockIO, planning),
    ...planHugepages(resources.hugepageLimits, planning),
    ...planNetwork(resources.network, planning),
    ...planRdma(resources.rdma, planning),
    ...planUnified(resources.unified, planning),
  ];
}

/**
 * Plans a container's cgroup: where it is, what is made, what is written. Pure; all that can be refused is refused
 * here.
 * Raises SPEC_INVALID (with JSON path), SPEC_UNSUPPORTED for a limit that this host's controllers cannot express,
 * REQUEST_INVALID, HOST_UNSUPPORTED for a v1 host without the devices controller, and for systemd as driver where it cannot be.
 */
export function planCgroup(request: CgroupRequest): CgroupPlan {
  const cgroup = locateCgroup(request);
  const resources = request.resources ?? {};
  const policy = parseDevicePolicy(resources.devices, AT);
  const devices = findDirectory(cgroup, 'devices');
  if (devices === undefined && !allowsEverything(policy)) {
    throw new SiltError(
      'HOST_UNSUPPORTED',
      'the cgroup v1 controller devices is not mounted, so the container could open every device of the host; mount it',
    );
  }
  const onV1 = devices?.version === 1;
  const deviceWrites = onV1 ? planDeviceTable(devices.path, toDeviceTable(policy), undefined) : [];
  const planning: Planning = { cgroup, at: AT, inForce: {}, updating: false };
  const limits = planLimits(resources, planning);
  const isLater = ({ file }: Write): boolean => basename(file) === 'pids.max';
  const later = limits.filter(isLater);
  const again = cgroup.unit !== undefined && later.length > 0 ? deviceWrites : [];
  return {
    cgroup,
    directories: cgroup.directories.flatMap(directoriesDownTo),
    delegations: planDelegations(cgroup),
    inheritances: planInheritance(cgroup, resources.cpu),
    writes: [...deviceWrites, ...limits.filter((write) => !isLater(write))],
    laterWrites: [...again, ...later],
    seedWrites: [...again, ...later.map(withRoomToUnpack)],
    deviceProgram: cgroup.mode === 'v2' && !allowsEverything(policy) ? compileDeviceProgram(policy) : undefined,
  };
}

export interface UpdateRequest {
  readonly cgroup: Cgroup;
  readonly resources: Resources;
  readonly inForce: LimitsInForce;
  /** v1: text of devices.list, needed when the resources hold devices; not for a unit of systemd's, who may be writing it just now. */
  readonly devicesList?: string;
  /** What the container was last given, needed for a unit of systemd's on v1. */
  readonly devices?: Resources['devices'];
  /** JSON path of the resources in the caller's document; `$` for a document that is nothing else. */
  readonly at?: string;
}

/**
 * Plans a change of a running container's limits. What the resources leave out stays as it is.
 * Raises SPEC_INVALID, SPEC_UNSUPPORTED, and WRONG_STATE for a memory limit refused by `checkBeforeUpdate`.
 */
export function planUpdate(request: UpdateRequest): UpdatePlan {
  const { cgroup, resources, at = '$' } = request;
  const planning: Planning = { cgroup, at, inForce: request.inForce, updating: true };
  const limits = planLimits(resources, planning);
  const given = (resources.devices ?? []).length > 0;
  const policy = parseDevicePolicy(resources.devices, at);
  if (cgroup.mode === 'v2') return { writes: limits, deviceProgram: given ? compileDeviceProgram(policy) : undefined };
  const bySystemd = cgroup.unit !== undefined;
  const present = request.devicesList === undefined ? undefined : parseDevicesList(request.devicesList);
  const rewritten = bySystemd && limits.length > 0 ? parseDevicePolicy(request.devices, AT) : undefined;
  const wantedPolicy = given ? policy : rewritten;
  if (wantedPolicy === undefined) return { writes: limits, deviceProgram: undefined };
  const directory = requireDirectory(cgroup, 'devices', `${at}.devices`).path;
  return {
    writes: [...planDeviceTable(directory, toDeviceTable(wantedPolicy), bySystemd ? undefined : present), ...limits],
    deviceProgram: undefined,
  };
}
