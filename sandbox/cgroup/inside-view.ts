import path from 'node:path';
import type { Cgroup } from './cgroup';

/** One hierarchy as the container sees it: the host's directory, bound to this name beneath /sys/fs/cgroup. */
export interface InsideBind {
  readonly source: string;
  readonly name: string;
}

/**
 * What the container's /sys/fs/cgroup is made of.
 * v1 and hybrid, as runc does it: a tmpfs with one directory per v1 hierarchy, a bind of the container's own cgroup on
 * each, and links for controllers that share one (`cpu` to `cpu,cpuacct`). The unified hierarchy of a hybrid host is
 * not shown.
 * v2: one bind (or a cgroup2 mount inside the container's cgroup namespace) on /sys/fs/cgroup itself, no tmpfs.
 */
export interface InsideView {
  readonly tmpfs: boolean;
  readonly binds: readonly InsideBind[];
  readonly links: readonly { readonly name: string; readonly target: string }[];
}

/** The inside view of a container's cgroup. Pure; the gofer makes the mounts. */
export function describeInsideView(cgroup: Cgroup): InsideView {
  if (cgroup.mode === 'v2') {
    return {
      tmpfs: false,
      binds: cgroup.directories.map((directory) => ({ source: directory.path, name: '' })),
      links: [],
    };
  }
  const directories = cgroup.directories.filter((directory) => directory.version === 1);
  const binds = directories.map((directory) => ({
    source: directory.path,
    name: path.posix.basename(directory.mountPoint),
  }));
  const names = new Set(binds.map((bind) => bind.name));
  const links = binds
    .filter((bind) => bind.name.includes(','))
    .flatMap((bind) => bind.name.split(',').map((name) => ({ name, target: bind.name })))
    .filter((link) => !names.has(link.name));
  return { tmpfs: true, binds, links };
}
