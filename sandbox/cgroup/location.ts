import path from 'node:path';
import type { Cgroup, Unit } from './cgroup';
import type { Hierarchies, Hierarchy } from './hierarchies';
import { SiltError } from '../../errors';

const JSON_PATH = '$.linux.cgroupsPath';

/** What `linux.cgroupsPath` says. Paths are normalised: no `.`, no `..`, no doubled or trailing slash. */
export type CgroupsPath =
  | { readonly kind: 'absolute' | 'relative'; readonly path: string }
  | { readonly kind: 'systemd'; readonly slice: string; readonly prefix: string; readonly name: string };

function invalid(message: string): SiltError {
  return new SiltError('SPEC_INVALID', `${JSON_PATH}: ${message}`, { jsonPath: JSON_PATH });
}

/**
 * Reads `linux.cgroupsPath` by runc's rules: an absolute path counts from each hierarchy's mount point, a relative one
 * from silt's own cgroup, `..` never climbs above either; without a path the container's id is taken as a relative one.
 * `slice:prefix:name` (two colons, no slash) is systemd's form, as the CRI plugin makes it for a kubelet with the
 * systemd driver.
 * Raises SPEC_INVALID, and REQUEST_INVALID for an id that is no file name.
 */
export function parseCgroupsPath(cgroupsPath: string | undefined, id: string): CgroupsPath {
  if (cgroupsPath === undefined || cgroupsPath === '') {
    if (id === '' || id === '.' || id === '..' || id.includes('/') || id.includes('\0')) {
      throw new SiltError('REQUEST_INVALID', `container id ${JSON.stringify(id)} cannot name a cgroup`, { id });
    }
    return { kind: 'relative', path: id };
  }
  // The kernel refuses newlines in names, and a NUL would cut the path short.
  if (/[\0\n]/.test(cgroupsPath)) throw invalid('holds a NUL or a newline');
  const parts = cgroupsPath.split(':');
  if (parts.length === 3 && !cgroupsPath.includes('/')) {
    const [slice, prefix, name] = parts as [string, string, string];
    if (name === '') throw invalid(`${JSON.stringify(cgroupsPath)} has no name after the second colon`);
    return { kind: 'systemd', slice: slice === '' ? 'system.slice' : slice, prefix, name };
  }
  const kind = cgroupsPath.startsWith('/') ? 'absolute' : 'relative';
  const clean = path.posix.normalize(`/${cgroupsPath}`).replace(/\/$/, '');
  if (clean === '') {
    throw invalid(
      `${JSON.stringify(cgroupsPath)} is the cgroup that holds everything else; name one for the container`,
    );
  }
  return { kind, path: kind === 'absolute' ? clean : clean.slice(1) };
}

/**
 * The path of a systemd slice beneath the root: `a-b.slice` lies in `a.slice` (systemd.slice(5)). `-.slice` is the
 * root.
 * Raises SPEC_INVALID for what is no slice name.
 */
export function expandSlice(slice: string): string {
  const stem = slice.endsWith('.slice') ? slice.slice(0, -'.slice'.length) : '';
  if (stem === '-') return '';
  const components = stem.split('-');
  if (components.includes('') || slice.includes('/')) {
    throw invalid(`${JSON.stringify(slice)} is no systemd slice name such as kubepods-burstable.slice`);
  }
  return components.map((_, index) => `/${components.slice(0, index + 1).join('-')}.slice`).join('');
}

/**
 * The same place in the tree that systemd would give `slice:prefix:name`, so that kubelet and cadvisor find the
 * container under its pod's slice. (runc without --systemd-cgroup makes one directory with colons in its name, outside
 * of the pod.)
 */
function systemdPath({ slice, name }: Unit): string {
  return `${expandSlice(slice)}/${name}`;
}

function unitOf({ slice, prefix, name }: { slice: string; prefix: string; name: string }): Unit {
  if (name.endsWith('.slice')) return { slice, name };
  return { slice, name: prefix === '' ? `${name}.scope` : `${prefix}-${name}.scope` };
}

function locate(where: CgroupsPath, hierarchy: Hierarchy, mode: Hierarchies['mode']): string {
  if (where.kind === 'absolute') return path.posix.join(hierarchy.mountPoint, where.path);
  if (where.kind === 'systemd') return path.posix.join(hierarchy.mountPoint, systemdPath(unitOf(where)));
  if (hierarchy.own === undefined) {
    throw new SiltError(
      'HOST_UNSUPPORTED',
      `${JSON_PATH} is relative to silt's own cgroup, which is not visible in ${hierarchy.mountPoint}; give an absolute path`,
      { path: hierarchy.mountPoint, jsonPath: JSON_PATH },
    );
  }
  // v2 allows no controllers beneath a cgroup that has processes of its own: a sibling of silt's cgroup, as runc does.
  const base = mode === 'v2' ? path.posix.dirname(hierarchy.own) : hierarchy.own;
  return path.posix.join(hierarchy.mountPoint, base, where.path);
}

export interface Location {
  readonly cgroupsPath: string | undefined;
  readonly id: string;
  readonly hierarchies: Hierarchies;
  /** `cgroupfs` when left out. */
  readonly driver?: CgroupDriver;
  /** systemd is this host's process 1. */
  readonly systemdRuns?: boolean;
}

/**
 * Who makes the cgroup: silt by itself (`cgroupfs`), or systemd as a unit. `auto`: systemd where it runs and the path has its form, which
 * is how a kubelet with the systemd driver says so.
 */
export const CGROUP_DRIVERS = ['auto', 'systemd', 'cgroupfs'] as const;
export type CgroupDriver = (typeof CGROUP_DRIVERS)[number];

/** What engines give as prefix for a container without a path; runc has its own name there. */
const DEFAULT_UNIT = { kind: 'systemd', slice: 'system.slice', prefix: 'silt' } as const;

/**
 * Where a container's cgroup is, in every hierarchy. Makes nothing.
 * Raises SPEC_INVALID, REQUEST_INVALID, HOST_UNSUPPORTED as above, and for the driver systemd where systemd is not running.
 */
export function locateCgroup(location: Location): Cgroup {
  const { hierarchies, driver = 'cgroupfs', systemdRuns = false, id } = location;
  const { mode } = hierarchies;
  let where = parseCgroupsPath(location.cgroupsPath, id);
  if (driver === 'systemd') {
    if (!location.cgroupsPath) where = { ...DEFAULT_UNIT, name: id };
    refuseSystemd(where, location);
  }
  const bySystemd = driver === 'systemd' || (driver === 'auto' && systemdRuns);
  const directories = hierarchies.list.map((hierarchy) => ({
    version: hierarchy.version,
    mountPoint: hierarchy.mountPoint,
    controllers: hierarchy.controllers,
    path: locate(where, hierarchy, mode),
  }));
  return { mode, directories, ...(bySystemd && where.kind === 'systemd' ? { unit: unitOf(where) } : {}) };
}

/** With runc's words, where it has some. */
function refuseSystemd(where: CgroupsPath, { cgroupsPath, systemdRuns }: Location): void {
  if (where.kind !== 'systemd') {
    throw invalid(`expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got ${JSON.stringify(cgroupsPath)} instead`); // prettier-ignore
  }
  const leave = 'leave --systemd-cgroup out (Docker: "native.cgroupdriver=cgroupfs")';
  if (!systemdRuns) {
    throw new SiltError('HOST_UNSUPPORTED', `systemd not running on this host, cannot use systemd cgroups manager: there is no /run/systemd/system; ${leave}`); // prettier-ignore
  }
}
