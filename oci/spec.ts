/**
 * The OCI runtime spec 1.2 for Linux as TypeScript types (config.md, config-linux.md in opencontainers/runtime-spec).
 * Linux's own chapter is in spec-linux.ts. A `Spec` comes from parseSpec: it holds no null and no field of another
 * platform, and every number is in its range.
 */
import type { Linux } from './spec-linux';

/** The content of a bundle's config.json. */
export interface Spec {
  readonly ociVersion: string;
  readonly process?: Process;
  readonly root?: Root;
  readonly hostname?: string;
  readonly domainname?: string;
  /** In the order in which they are made. */
  readonly mounts?: readonly Mount[];
  readonly hooks?: Hooks;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux?: Linux;
}

/** A process: the container's first one, or that of an exec. */
export interface Process {
  /** A pty is made and becomes stdio and the controlling terminal. */
  readonly terminal?: boolean;
  readonly consoleSize?: Box;
  readonly user?: User;
  /** As of execvp(3): the first names the program. */
  readonly args: readonly string[];
  readonly env?: readonly string[];
  /** Absolute, in the container. */
  readonly cwd: string;
  readonly capabilities?: Capabilities;
  readonly rlimits?: readonly Rlimit[];
  readonly noNewPrivileges?: boolean;
  readonly apparmorProfile?: string;
  /** -1000 … 1000 (proc(5), oom_score_adj). */
  readonly oomScoreAdj?: number;
  readonly scheduler?: Scheduler;
  readonly selinuxLabel?: string;
  readonly ioPriority?: IoPriority;
  readonly execCPUAffinity?: CpuAffinity;
}

/** A terminal's size in characters. */
export interface Box {
  readonly height: number;
  readonly width: number;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly umask?: number;
  readonly additionalGids?: readonly number[];
}

/** Names such as `CAP_CHOWN`; a missing set is empty. */
export interface Capabilities {
  readonly bounding?: readonly string[];
  readonly effective?: readonly string[];
  readonly inheritable?: readonly string[];
  readonly permitted?: readonly string[];
  readonly ambient?: readonly string[];
}

/** A limit of setrlimit(2); 2^64-1 stands for none. A bigint where a number would not be exact. */
export interface Rlimit {
  /** Such as `RLIMIT_NOFILE`. */
  readonly type: string;
  readonly hard: number | bigint;
  readonly soft: number | bigint;
}

/** Attributes of sched_setattr(2); times in nanoseconds. */
export interface Scheduler {
  /** Such as `SCHED_BATCH`. */
  readonly policy: string;
  readonly nice?: number;
  readonly priority?: number;
  /** Such as `SCHED_FLAG_RESET_ON_FORK`. */
  readonly flags?: readonly string[];
  readonly runtime?: number | bigint;
  readonly deadline?: number | bigint;
  readonly period?: number | bigint;
}

/** As of ioprio_set(2); priority 0 (highest) … 7. */
export interface IoPriority {
  readonly class: 'IOPRIO_CLASS_RT' | 'IOPRIO_CLASS_BE' | 'IOPRIO_CLASS_IDLE';
  readonly priority?: number;
}

/** CPUs of an exec before and after it is moved into the container's cgroup, in cpuset(7)'s list format. */
export interface CpuAffinity {
  readonly initial?: string;
  readonly final?: string;
}

export interface Root {
  /** Absolute, or relative to the bundle. */
  readonly path: string;
  readonly readonly?: boolean;
}

export interface Mount {
  /** Absolute in the container; a relative one starts at `/`, which OCI deprecates. */
  readonly destination: string;
  readonly type?: string;
  /** Of bind mounts: absolute, or relative to the bundle. */
  readonly source?: string;
  /** See parseMountOptions. */
  readonly options?: readonly string[];
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
}

/** `containerID … containerID+size-1` inside is `hostID …` outside (user_namespaces(7)). */
export interface IdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** Programs to run at points of a container's life; each gets the state of the container on its stdin. */
export interface Hooks {
  /** Deprecated; runs where createRuntime does. */
  readonly prestart?: readonly Hook[];
  /** In the runtime's namespaces, before pivot_root. */
  readonly createRuntime?: readonly Hook[];
  /** In the container's namespaces, before pivot_root. */
  readonly createContainer?: readonly Hook[];
  /** In the container's namespaces and root, before the process is executed. */
  readonly startContainer?: readonly Hook[];
  /** In the runtime's namespaces, once the process runs. */
  readonly poststart?: readonly Hook[];
  /** In the runtime's namespaces, once the container is deleted. */
  readonly poststop?: readonly Hook[];
}

export interface Hook {
  /** Absolute, on the host. */
  readonly path: string;
  /** With the program's own name as the first, as of execv(3). */
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  /** In seconds. */
  readonly timeout?: number;
}
