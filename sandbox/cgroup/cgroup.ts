import { type ResctrlGroup, resctrlTasks } from './resctrl';
import type { Mode } from './hierarchies';
import { SiltError } from '../../errors';

/** One directory of a container's cgroup, in one hierarchy. */
export interface CgroupDirectory {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  /** The controllers that are used here. Empty for the unified hierarchy of a hybrid host. */
  readonly controllers: readonly string[];
  /** Absolute path on the host, beneath `mountPoint`. */
  readonly path: string;
}

/** A unit of systemd's, which is a cgroup in each hierarchy. */
export interface Unit {
  /** Such as `docker-0123.scope`. */
  readonly name: string;
  /** The slice that it lies in. */
  readonly slice: string;
}

/** A container's cgroup: plain data, fit for the state directory, so that a later silt can take it up again. */
export interface Cgroup {
  readonly mode: Mode;
  readonly directories: readonly CgroupDirectory[];
  /** systemd makes it, and has to be told of its changes and its end. */
  readonly unit?: Unit;
  /** A class of the resctrl filesystem that goes with it. */
  readonly resctrl?: ResctrlGroup;
}

/** The directory in which this controller's files are, or undefined when the host has no such controller. */
export function findDirectory(cgroup: Cgroup, controller: string): CgroupDirectory | undefined {
  return cgroup.directories.find((directory) => directory.controllers.includes(controller));
}

/**
 * The directory of a controller that the spec needs.
 * Raises SPEC_UNSUPPORTED, naming the controller and the place in the spec, when the host does not have it.
 */
export function requireDirectory(cgroup: Cgroup, controller: string, jsonPath: string): CgroupDirectory {
  const directory = findDirectory(cgroup, controller);
  if (directory !== undefined) return directory;
  const kind =
    cgroup.mode === 'v2' ? 'cgroup.controllers does not list it' : 'it is not mounted as a cgroup v1 hierarchy';
  throw new SiltError('SPEC_UNSUPPORTED', `${jsonPath} needs the cgroup controller ${controller}, but ${kind}`, {
    jsonPath,
  });
}

/**
 * The unified hierarchy's directory: of v2 and of hybrid hosts. For CLONE_INTO_CGROUP, cgroup.kill and BPF programs.
 */
export function findUnifiedDirectory(cgroup: Cgroup): CgroupDirectory | undefined {
  return cgroup.directories.find((directory) => directory.version === 2);
}

/**
 * The directory whose processes stand for all of the container's. The freezer's is preferred: whatever is listed there
 * is exactly what a freeze stops.
 */
export function membershipDirectory(cgroup: Cgroup): CgroupDirectory {
  const candidates = ['freezer', 'devices', 'pids', 'memory'].map((controller) => findDirectory(cgroup, controller));
  const found = candidates.find((directory) => directory !== undefined) ?? cgroup.directories[0];
  if (found === undefined) throw new SiltError('INTERNAL', 'a cgroup without directories');
  return found;
}

/** How a process gets into a cgroup. */
export interface CgroupEntry {
  /** The unified hierarchy's directory, which a process is cloned into; undefined on a host of v1 alone. */
  readonly into: string | undefined;
  /** Files of v1 hierarchies and of resctrl: a process that writes `0` to each is in. */
  readonly files: readonly string[];
}

/**
 * The way into a cgroup. v1: one `tasks` per hierarchy, the freezer last, so that a frozen cgroup stops a process that is otherwise
 * in place. Writing `0` there moves one thread and takes no system-wide lock (20–60 µs); cgroup.procs takes it, which costs 5–20 ms each time.
 * CLONE_INTO_CGROUP enters the unified hierarchy for nothing. A process with more than one thread must not use `tasks`.
 */
export function cgroupEntry(cgroup: Cgroup): CgroupEntry {
  const v1 = cgroup.directories.filter((directory) => directory.version === 1);
  const isFreezer = (directory: CgroupDirectory): boolean => directory.controllers.includes('freezer');
  const ordered = [...v1.filter((directory) => !isFreezer(directory)), ...v1.filter(isFreezer)];
  const files = ordered.map(({ path }) => `${path}/tasks`);
  const classes = cgroup.resctrl === undefined ? [] : resctrlTasks(cgroup.resctrl);
  return { into: findUnifiedDirectory(cgroup)?.path, files: [...classes, ...files] };
}
