/** The OCI runtime spec: its types, its checks, and the pure functions that turn it into the kernel's terms. */
export * from './spec';
export * from './spec-linux';
export { readBundle } from './bundle';
export { parseProcess, parseResources, parseSpec, specWarnings, type SpecHost } from './check';
export { type Unsupported, unsupportedFields } from './unsupported';
export { defaultSpec, type DefaultSpecChoices } from './default-spec';
export { features } from './features';
export { sysctlPath } from './checks/sysctl';
export {
  CAPABILITY_SETS,
  capabilityList,
  capabilityMasks,
  type CapabilityMasks,
  capabilityName,
  knownCapabilities,
  unknownCapabilities,
} from './capabilities';
export { IF_KNOWN, knownMountOptions, type MountData, type MountOptions, parseMountOptions } from './mount-options';
export { execCandidates, RLIMIT_NAMES, rlimitNumbers, type RlimitNumbers, uniqueEnv } from './process';
export { allowOnly, BASELINES, baselineFilter, type BaselineName, compileSeccomp, type SeccompFilter } from './seccomp';
export { hostNeeds, powersOverHost } from './host-needs';
export { checkMountPower, isInHostMounts } from './checks/host-mounts';
export { isPrivileged } from './privileged';
export { cpuMask, everyCpu, ioPriorityNumber, memoryPolicyNumbers, schedulerAttributes } from './scheduling';
