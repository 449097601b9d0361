import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SiltError } from '../../errors';
import { type Cgroup, type CgroupDirectory, type CgroupEntry, cgroupEntry, membershipDirectory } from './cgroup';
import type { Hierarchies } from './hierarchies';
import { readTextIfPresent, writeControl } from './virtual-file';

/** Cgroups that the container made beneath its own: by controller, or `''` for every hierarchy. */
type SubCgroups = ReadonlyMap<string, string>;

/**
 * The way of a further process into a container's cgroup.
 * @param wanted as `exec --cgroup` takes them: `path`, or on v1 `controller[,controller]:path`, beneath the container's own
 * @param init pid of the container's first process
 * @throws SiltError REQUEST_INVALID for what is no cgroup of the container's.
 */
export function execEntry(cgroup: Cgroup, wanted: readonly string[], init: number): CgroupEntry {
  if (wanted.length === 0)
    return cgroupEntry(cgroup.mode === 'v2' ? { ...cgroup, directories: whereInitIs(cgroup, init) } : cgroup);
  const subs = parseSubCgroups(cgroup, wanted);
  const directories = cgroup.directories.map((directory) => beneath(directory, subs));
  return cgroupEntry({ ...cgroup, directories });
}

/** @throws SiltError REQUEST_INVALID, with runc's words. */
function parseSubCgroups(cgroup: Cgroup, wanted: readonly string[]): SubCgroups {
  const subs = new Map<string, string>();
  for (const one of wanted) {
    const [, names, sub = ''] = /^(?:([^:/]*):)?(.*)$/s.exec(one)!;
    if (names !== undefined && cgroup.mode === 'v2')
      throw refused(one, 'bad sub cgroup path: cgroup v2 has one hierarchy, so give the path without controllers');
    if (sub.split('/').includes('..') || /[\0\n]/.test(sub))
      throw refused(one, 'bad sub cgroup path: it leads elsewhere');
    for (const name of names?.split(',') ?? ['']) {
      const known = name === '' || cgroup.directories.some(({ controllers }) => controllers.includes(name));
      if (!known) throw refused(one, `unknown controller ${name}`);
      if (subs.has(name)) throw refused(one, `the controller ${name === '' ? '(all)' : name} is given twice`);
      subs.set(name, sub);
    }
  }
  return subs;
}

function beneath(directory: CgroupDirectory, subs: SubCgroups): CgroupDirectory {
  const named = directory.controllers.find((name) => subs.has(name)) ?? '';
  const sub = subs.get(named);
  if (sub === undefined || (directory.version === 2 && directory.controllers.length === 0)) return directory;
  const place = path.posix.join(directory.path, path.posix.join('/', sub)).replace(/\/$/, '');
  if (existsSync(place)) return { ...directory, path: place };
  throw refused(sub, `error adding pid of the process to cgroup ${place}: no such file or directory`);
}

/**
 * A cgroup of v2 whose controllers are on for cgroups beneath it takes no processes itself (cgroups(7), "no internal processes"): the
 * container's first process has moved then, and further ones go where it is, as with runc. The kernel says where; only the names are the
 * container's.
 */
function whereInitIs(cgroup: Cgroup, init: number): readonly CgroupDirectory[] {
  return cgroup.directories.map((directory) => {
    const delegates = readTextIfPresent(`${directory.path}/cgroup.subtree_control`)?.trim();
    if (!delegates) return directory;
    const own = /^0::(.*)$/m.exec(readFileSync(`/proc/${init}/cgroup`, 'latin1'))?.[1] ?? '';
    const place = path.posix.join(directory.mountPoint, own);
    return place.startsWith(`${directory.path}/`) ? { ...directory, path: place } : directory;
  });
}

function refused(wanted: string, what: string): SiltError {
  return new SiltError('REQUEST_INVALID', `--cgroup ${wanted}: ${what}`, {});
}

/**
 * Takes a process out of the directory that freezes a container, into silt's own cgroup: it runs on while the container is frozen.
 * Raises SYSCALL_FAILED.
 */
export function escapeFreezer(cgroup: Cgroup, hierarchies: Hierarchies, pid: number): void {
  const { mountPoint } = membershipDirectory(cgroup);
  const own = hierarchies.list.find((hierarchy) => hierarchy.mountPoint === mountPoint)?.own ?? '/';
  writeControl(path.posix.join(mountPoint, own, 'cgroup.procs'), `${pid}`);
}

/**
 * Puts a process into a cgroup that somebody else has made: into the directory of that path in each hierarchy that has one.
 * @param wanted as containerd's option `ShimCgroup` has it: from the root of the hierarchies
 * @throws SiltError REQUEST_INVALID when none has it, SYSCALL_FAILED
 */
export function joinExisting(hierarchies: Hierarchies, wanted: string, pid: number): void {
  const places = hierarchies.list.map(({ mountPoint }) => path.posix.join(mountPoint, path.posix.join('/', wanted)));
  const there = places.filter((place) => existsSync(place));
  if (there.length === 0) {
    const message = `ShimCgroup ${wanted}: no hierarchy has such a cgroup (looked for ${places.join(', ')}); make it first, or leave the option out`;
    throw new SiltError('REQUEST_INVALID', message, { path: wanted });
  }
  for (const place of there) writeControl(path.posix.join(place, 'cgroup.procs'), `${pid}`);
}
