import { readFileSync } from 'node:fs';
import path from 'node:path';
import { SiltError } from '../../errors';

/**
 * `v1`: every controller on a v1 hierarchy. `v2`: the unified hierarchy alone. `hybrid`: controllers on v1, and a
 * unified hierarchy without controllers of ours beside them (what systemd calls hybrid).
 */
export type Mode = 'v1' | 'v2' | 'hybrid';

/** One mounted cgroup hierarchy (cgroups(7)). */
export interface Hierarchy {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  /**
   * v1: `cpu`, `cpuacct`, `name=systemd`. v2 mode: cgroup.controllers and the two that have none of their own files
   * there.
   */
  readonly controllers: readonly string[];
  /**
   * silt's own cgroup as a path beneath the mount point (`/` is the mount point itself); undefined when it is not
   * visible there.
   */
  readonly own: string | undefined;
}

export interface Hierarchies {
  readonly mode: Mode;
  readonly list: readonly Hierarchy[];
}

export interface HierarchySources {
  /** Text of /proc/self/mountinfo. */
  readonly mountinfo: string;
  /** Text of /proc/self/cgroup. */
  readonly selfCgroup: string;
  /** Reads cgroup.controllers of the unified hierarchy at this mount point; asked only in v2 mode. */
  readonly readControllers: (mountPoint: string) => string;
}

interface Mount {
  readonly version: 1 | 2;
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
}

const STANDARD_ROOT = '/sys/fs/cgroup';

/** Controllers of v2 without files in cgroup.controllers: a BPF program (4.15) and cgroup.freeze (5.2). */
const V2_WITHOUT_CONTROLLER = ['devices', 'freezer'] as const;

/** mountinfo writes space, tab, newline and backslash as three octal digits (proc(5)). */
function unescapeMountinfo(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

function parseMounts(mountinfo: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ');
    const [type, , options] = right?.split(' ') ?? [];
    const [, , , root, mountPoint] = left?.split(' ') ?? [];
    if ((type !== 'cgroup' && type !== 'cgroup2') || root === undefined || mountPoint === undefined) continue;
    mounts.push({
      version: type === 'cgroup' ? 1 : 2,
      root: unescapeMountinfo(root),
      mountPoint: unescapeMountinfo(mountPoint),
      options: (options ?? '').split(','),
    });
  }
  return mounts;
}

/**
 * Controllers (or '' for v2) to the cgroup that the process is in. A path may hold colons, the first two fields do not.
 */
function parseSelfCgroup(text: string): Map<string, string> {
  const own = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match === null) continue;
    for (const controller of match[1]!.split(',')) own.set(controller, match[2]!);
  }
  return own;
}

/**
 * Where silt's own cgroup lies beneath the mount. Inside a container the mount may show only a part of the hierarchy
 * (its root is then /docker/abc, say) while /proc/self/cgroup counts from the top.
 */
function ownBeneath(mount: Mount, own: string | undefined): string | undefined {
  if (own === undefined || own.startsWith('/..') || mount.root.startsWith('/..')) return undefined;
  const relative = path.posix.relative(mount.root, own);
  return relative.startsWith('..') ? undefined : `/${relative}`;
}

/**
 * Mounts under /sys/fs/cgroup come first: a hierarchy may be mounted elsewhere too, by a container engine in its own
 * tree.
 */
function standardFirst(mounts: readonly Mount[]): Mount[] {
  const standard = (mount: Mount): boolean => mount.mountPoint.startsWith(`${STANDARD_ROOT}/`);
  return [...mounts.filter(standard), ...mounts.filter((mount) => !standard(mount))];
}

function hierarchiesV1(mounts: readonly Mount[], own: Map<string, string>): Hierarchy[] {
  const seen = new Set<string>();
  const list: Hierarchy[] = [];
  for (const mount of standardFirst(mounts)) {
    // Only names that /proc/self/cgroup knows are controllers; the rest (rw, xattr, release_agent=…) are plain options.
    const controllers = mount.options.filter((option) => own.has(option) && option !== '' && !seen.has(option));
    if (controllers.length === 0) continue;
    for (const controller of controllers) seen.add(controller);
    list.push({
      version: 1,
      mountPoint: mount.mountPoint,
      controllers,
      own: ownBeneath(mount, own.get(controllers[0]!)),
    });
  }
  return list;
}

/**
 * Which cgroup hierarchies the host has and where they are mounted. A cgroup2 on /sys/fs/cgroup itself means v2, even
 * when some program mounted a lone v1 controller (net_cls, say) beneath it.
 * Raises HOST_UNSUPPORTED when no cgroup filesystem is mounted.
 */
export function parseHierarchies(sources: HierarchySources): Hierarchies {
  const mounts = parseMounts(sources.mountinfo);
  const own = parseSelfCgroup(sources.selfCgroup);
  const unified =
    mounts.find((mount) => mount.version === 2 && mount.mountPoint === STANDARD_ROOT) ??
    standardFirst(mounts.filter((mount) => mount.version === 2))[0];
  const v1 = hierarchiesV1(
    mounts.filter((mount) => mount.version === 1),
    own,
  );
  if (unified !== undefined && (v1.length === 0 || unified.mountPoint === STANDARD_ROOT)) {
    const listed = sources.readControllers(unified.mountPoint).split(/\s+/).filter(Boolean);
    const controllers = [...listed, ...V2_WITHOUT_CONTROLLER];
    const place = {
      version: 2,
      mountPoint: unified.mountPoint,
      controllers,
      own: ownBeneath(unified, own.get('')),
    } as const;
    return { mode: 'v2', list: [place] };
  }
  if (v1.length === 0) {
    throw new SiltError(
      'HOST_UNSUPPORTED',
      'no cgroup filesystem is mounted (looked in /proc/self/mountinfo): mount cgroup2 on /sys/fs/cgroup',
    );
  }
  if (unified === undefined) return { mode: 'v1', list: v1 };
  const beside: Hierarchy = {
    version: 2,
    mountPoint: unified.mountPoint,
    controllers: [],
    own: ownBeneath(unified, own.get('')),
  };
  return { mode: 'hybrid', list: [...v1, beside] };
}

/**
 * The hierarchies of this host as this process sees them. Reads three small files. Raises HOST_UNSUPPORTED as above.
 */
export function readHierarchies(): Hierarchies {
  return parseHierarchies({
    mountinfo: readFileSync('/proc/self/mountinfo', 'utf8'),
    selfCgroup: readFileSync('/proc/self/cgroup', 'utf8'),
    readControllers: (mountPoint) => readFileSync(`${mountPoint}/cgroup.controllers`, 'utf8'),
  });
}
