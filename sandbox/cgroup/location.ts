import path from 'node:path';
import type { Cgroup } from './cgroup';
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
function systemdPath(unit: { slice: string; prefix: string; name: string }): string {
  const scope = unit.prefix === '' ? `${unit.name}.scope` : `${unit.prefix}-${unit.name}.scope`;
  return `${expandSlice(unit.slice)}/${unit.name.endsWith('.slice') ? unit.name : scope}`;
}

function locate(where: CgroupsPath, hierarchy: Hierarchy, mode: Hierarchies['mode']): string {
  if (where.kind === 'absolute') return path.posix.join(hierarchy.mountPoint, where.path);
  if (where.kind === 'systemd') return path.posix.join(hierarchy.mountPoint, systemdPath(where));
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
  /** `--systemd-cgroup`: have systemd make the cgroup. Not built. */
  readonly systemdCgroup?: boolean;
}

/**
 * Where a container's cgroup is, in every hierarchy. Makes nothing.
 * Raises SPEC_INVALID, REQUEST_INVALID, HOST_UNSUPPORTED as above, and UNIMPLEMENTED for `systemdCgroup`.
 */
export function locateCgroup(location: Location): Cgroup {
  const { hierarchies } = location;
  const where = parseCgroupsPath(location.cgroupsPath, location.id);
  if (location.systemdCgroup === true) {
    throw new SiltError(
      'UNIMPLEMENTED',
      '--systemd-cgroup: silt makes cgroups itself (cgroupfs driver); leave the flag out',
    );
  }
  const directories = hierarchies.list.map((hierarchy) => ({
    version: hierarchy.version,
    mountPoint: hierarchy.mountPoint,
    controllers: hierarchy.controllers,
    path: locate(where, hierarchy, hierarchies.mode),
  }));
  return { mode: hierarchies.mode, directories };
}
