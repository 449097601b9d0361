/**
 * cgroups for containers, on v1, v2 and hybrid hosts: where a container's cgroup is, what is written into it, and what
 * is read back. Planning is pure; making, freezing, killing and removing are short loops over tiny files.
 */
export { readHierarchies, parseHierarchies } from './hierarchies';
export type { Hierarchies, Hierarchy, HierarchySources, Mode } from './hierarchies';
export { type CgroupEntry, cgroupEntry, findUnifiedDirectory } from './cgroup';
export { escapeFreezer, execEntry, joinExisting } from './joining';
export { delegateCgroup } from './delegation';
export type { Cgroup, CgroupDirectory, Unit } from './cgroup';
export { CGROUP_DRIVERS, locateCgroup, parseCgroupsPath } from './location';
export type { CgroupDriver, CgroupsPath, Location } from './location';
export { planCgroup, planUpdate } from './plan';
export type { CgroupPlan, CgroupRequest, UpdatePlan, UpdateRequest } from './plan';
export type { LimitsInForce, Write } from './values';
export type { Inheritance } from './cpuset';
export { parseDevicePolicy } from './device-rules';
export type { DevicePolicy, PolicyRule } from './device-rules';
export { allowsEverything, compileDeviceProgram } from './device-program';
export { applyWrites, createCgroup, removeCreated } from './create';
export { memoryInUse, planChange, readLimitsInForce } from './update';
export { freeze, FREEZE_TIMEOUT_MS, isFrozen, readFreezerState, thaw } from './freezer';
export type { FreezerState } from './freezer';
export { type KeepFrozen, killAll, listPids, signalAll } from './processes';
export { removeCgroup } from './remove';
export {
  makeResctrl,
  planResctrl,
  removeResctrl,
  type ResctrlPlan,
  resctrlRoot,
  schemataOf,
  writeSchemata,
} from './resctrl';
export { readMetrics } from './stats';
export type { Metrics } from './stats';
export type { MetricsV1 } from './stats-v1';
export type { MetricsV2 } from './stats-v2';
export { findOomSource, oomKills, registerOomEvent } from './oom';
export type { OomSource } from './oom';
export { describeInsideView } from './inside-view';
export type { InsideBind, InsideView } from './inside-view';
