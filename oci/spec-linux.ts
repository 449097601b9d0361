/** The `linux` object of the OCI runtime spec (config-linux.md). */
import type { IdMapping } from './spec';

export interface Linux {
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
  /** Values of files under /proc/sys, by name with dots. */
  readonly sysctl?: Readonly<Record<string, string>>;
  readonly resources?: Resources;
  /** A path below the cgroup mounts, or systemd's `slice:prefix:name`. */
  readonly cgroupsPath?: string;
  readonly namespaces?: readonly Namespace[];
  readonly devices?: readonly Device[];
  /** Since 1.3: host interfaces to move into the container, by name. */
  readonly netDevices?: Readonly<Record<string, NetDevice>>;
  readonly seccomp?: Seccomp;
  /** `private`, `slave`, `shared`, `unbindable`, or one of them with an `r` before it. */
  readonly rootfsPropagation?: string;
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  /** SELinux context of the mounts. */
  readonly mountLabel?: string;
  readonly intelRdt?: IntelRdt;
  /** Since 1.3. */
  readonly memoryPolicy?: MemoryPolicy;
  readonly personality?: Personality;
  /** By clock: `monotonic`, `boottime`. */
  readonly timeOffsets?: Readonly<Record<string, TimeOffset>>;
}

export type NamespaceType = 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time';

export interface Namespace {
  readonly type: NamespaceType;
  /** Of a namespace to join; a new one is made without it. */
  readonly path?: string;
}

export interface Device {
  readonly path: string;
  /** Character, block, character (unbuffered), FIFO. */
  readonly type: 'c' | 'b' | 'u' | 'p';
  readonly major?: number;
  readonly minor?: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface NetDevice {
  /** In the container; the host's name without it. */
  readonly name?: string;
}

export interface IntelRdt {
  readonly closID?: string;
  readonly schemata?: readonly string[];
  readonly l3CacheSchema?: string;
  readonly memBwSchema?: string;
  readonly enableCMT?: boolean;
  readonly enableMBM?: boolean;
  readonly enableMonitoring?: boolean;
}

/** As of set_mempolicy(2). */
export interface MemoryPolicy {
  readonly mode: string;
  readonly nodes?: string;
  readonly flags?: readonly string[];
}

export interface Personality {
  readonly domain: 'LINUX' | 'LINUX32';
  readonly flags?: readonly string[];
}

export interface TimeOffset {
  readonly secs?: number;
  readonly nanosecs?: number;
}

/** Limits of cgroups, "Control groups" in config-linux.md. Bytes, microseconds, and what the controllers' files take. */
export interface Resources {
  readonly devices?: readonly DeviceRule[];
  readonly memory?: MemoryLimits;
  readonly cpu?: CpuLimits;
  readonly pids?: { readonly limit?: number };
  readonly blockIO?: BlockIoLimits;
  readonly hugepageLimits?: readonly HugepageLimit[];
  readonly network?: NetworkLimits;
  /** By device. */
  readonly rdma?: Readonly<Record<string, RdmaLimits>>;
  /** Files of cgroup v2 and what to write into them. */
  readonly unified?: Readonly<Record<string, string>>;
}

export interface DeviceRule {
  readonly allow: boolean;
  /** Every type without it. */
  readonly type?: 'a' | 'c' | 'b';
  /** Every number without it. */
  readonly major?: number;
  readonly minor?: number;
  /** Of the letters r, w, m. */
  readonly access?: string;
}

export interface MemoryLimits {
  /** -1 for none, here and below. */
  readonly limit?: number;
  readonly reservation?: number;
  /** Memory and swap together. */
  readonly swap?: number;
  readonly kernel?: number;
  readonly kernelTCP?: number;
  readonly swappiness?: number;
  readonly disableOOMKiller?: boolean;
  readonly useHierarchy?: boolean;
  /** Refuse an update below what is in use. */
  readonly checkBeforeUpdate?: boolean;
}

export interface CpuLimits {
  readonly shares?: number;
  readonly quota?: number;
  readonly burst?: number;
  readonly period?: number;
  readonly realtimeRuntime?: number;
  readonly realtimePeriod?: number;
  readonly cpus?: string;
  readonly mems?: string;
  readonly idle?: number;
}

export interface BlockIoLimits {
  readonly weight?: number;
  readonly leafWeight?: number;
  readonly weightDevice?: readonly WeightDevice[];
  readonly throttleReadBpsDevice?: readonly ThrottleDevice[];
  readonly throttleWriteBpsDevice?: readonly ThrottleDevice[];
  readonly throttleReadIOPSDevice?: readonly ThrottleDevice[];
  readonly throttleWriteIOPSDevice?: readonly ThrottleDevice[];
}

export interface WeightDevice {
  readonly major: number;
  readonly minor: number;
  readonly weight?: number;
  readonly leafWeight?: number;
}

export interface ThrottleDevice {
  readonly major: number;
  readonly minor: number;
  /** Bytes or operations a second. */
  readonly rate: number;
}

export interface HugepageLimit {
  /** Such as `2MB`. */
  readonly pageSize: string;
  readonly limit: number;
}

export interface NetworkLimits {
  readonly classID?: number;
  readonly priorities?: readonly { readonly name: string; readonly priority: number }[];
}

export interface RdmaLimits {
  readonly hcaHandles?: number;
  readonly hcaObjects?: number;
}

export interface Seccomp {
  readonly defaultAction: SeccompAction;
  /** For SCMP_ACT_ERRNO and SCMP_ACT_TRACE; 1 (EPERM) without it. */
  readonly defaultErrnoRet?: number;
  /** Such as `SCMP_ARCH_X86_64`. The machine's own is always among them. */
  readonly architectures?: readonly string[];
  /** Such as `SECCOMP_FILTER_FLAG_LOG`. */
  readonly flags?: readonly string[];
  /** A UNIX socket that gets the fd of SCMP_ACT_NOTIFY. */
  readonly listenerPath?: string;
  readonly listenerMetadata?: string;
  readonly syscalls?: readonly SeccompRule[];
}

export type SeccompAction =
  | 'SCMP_ACT_KILL'
  | 'SCMP_ACT_KILL_PROCESS'
  | 'SCMP_ACT_KILL_THREAD'
  | 'SCMP_ACT_TRAP'
  | 'SCMP_ACT_ERRNO'
  | 'SCMP_ACT_TRACE'
  | 'SCMP_ACT_ALLOW'
  | 'SCMP_ACT_LOG'
  | 'SCMP_ACT_NOTIFY';

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: SeccompAction;
  readonly errnoRet?: number;
  /** All of them must hold; see compileSeccomp for two with one index. */
  readonly args?: readonly SeccompArg[];
}

export type SeccompOperator =
  'SCMP_CMP_NE' | 'SCMP_CMP_LT' | 'SCMP_CMP_LE' | 'SCMP_CMP_EQ' | 'SCMP_CMP_GE' | 'SCMP_CMP_GT' | 'SCMP_CMP_MASKED_EQ';

export interface SeccompArg {
  /** 0 … 5 */
  readonly index: number;
  /** Unsigned 64 bits; the mask with SCMP_CMP_MASKED_EQ. */
  readonly value: number | bigint;
  /** What the masked argument is compared with. */
  readonly valueTwo?: number | bigint;
  readonly op: SeccompOperator;
}
