import type { Device } from '../oci';
import { type Fd, fchownat, makedev, mknodat, type ProgramBuilder, symlinkat } from '../syscall';
import { type IdMaps, toHost } from './id-map';
import { openTarget, type Owner } from './target';

export interface DeviceNode {
  readonly path: string;
  readonly type: 'S_IFCHR' | 'S_IFBLK' | 'S_IFIFO';
  readonly major: number;
  readonly minor: number;
  readonly mode: number;
  readonly owner: Owner;
}

/** Devices that every container has (OCI runtime spec, config-linux, "Default Devices"). */
const DEFAULT_DEVICES: readonly (readonly [path: string, major: number, minor: number])[] = [
  ['/dev/null', 1, 3],
  ['/dev/zero', 1, 5],
  ['/dev/full', 1, 7],
  ['/dev/random', 1, 8],
  ['/dev/urandom', 1, 9],
  ['/dev/tty', 5, 0],
];

/** Symlinks that every container has in /dev (same section); ptmx leads to the container's own devpts. */
const LINKS: readonly (readonly [name: string, target: string])[] = [
  ['ptmx', 'pts/ptmx'],
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
];

const TYPES = { c: 'S_IFCHR', u: 'S_IFCHR', b: 'S_IFBLK', p: 'S_IFIFO' } as const;

/** The default devices and those of the spec; an entry of the spec replaces a default one of the same path. */
export function planDevices(devices: readonly Device[], idMaps: IdMaps | null): DeviceNode[] {
  const hostId = (kind: 'uids' | 'gids', id: number): number =>
    idMaps === null ? id : (toHost(idMaps[kind], id) ?? 65534);
  const nodes = new Map<string, DeviceNode>();
  const owner = { uid: hostId('uids', 0), gid: hostId('gids', 0) };
  for (const [path, major, minor] of DEFAULT_DEVICES)
    nodes.set(path, { path, type: 'S_IFCHR', major, minor, mode: 0o666, owner });
  for (const device of devices) {
    nodes.set(device.path, {
      path: device.path,
      type: TYPES[device.type],
      major: device.major ?? 0,
      minor: device.minor ?? 0,
      mode: device.fileMode ?? 0o666,
      owner: { uid: hostId('uids', device.uid ?? 0), gid: hostId('gids', device.gid ?? 0) },
    });
  }
  return [...nodes.values()];
}

/**
 * Makes each node, with exactly its mode. The gofer is host root, so these are real devices on a tmpfs of the initial user namespace.
 *
 * No mode is set afterwards: by then the name may be a symlink, where somebody else writes to a volume that it lies in, and chmod(2) would
 * follow that out of the root.
 */
export function makeDevices(p: ProgramBuilder, root: Fd, nodes: readonly DeviceNode[], podRoot: Owner): void {
  if (nodes.length === 0) return;
  const umask = p.slot('umask');
  p.step('setting the umask aside for devices').call('umask', [0], { out: umask });
  for (const node of nodes) {
    p.step(`making the device ${node.path}`);
    p.scope(() => {
      const slash = node.path.lastIndexOf('/');
      const name = node.path.slice(slash + 1);
      const dir = openTarget(p, { root, path: node.path.slice(0, slash), kind: 'directory', owner: podRoot });
      const made = p.slot('made');
      mknodat(p, dir, name, node.type, node.mode, makedev(node.major, node.minor), { out: made, tolerate: ['EEXIST'] });
      const there = p.label();
      p.jumpIfNotZero(made, there);
      if (node.owner.uid !== 0 || node.owner.gid !== 0) fchownat(p, dir, name, node.owner.uid, node.owner.gid);
      p.place(there);
      p.call('close', [dir], { tolerate: 'all' });
    });
  }
  p.step('restoring the umask').call('umask', [umask]);
}

/** Makes the usual symlinks of /dev; what is there already stays. */
export function makeDeviceLinks(p: ProgramBuilder, root: Fd, podRoot: Owner): void {
  p.step('making the symlinks of /dev');
  p.scope(() => {
    const dev = openTarget(p, { root, path: '/dev', kind: 'directory', owner: podRoot });
    for (const [name, target] of LINKS) {
      symlinkat(p, target, dev, name, { tolerate: ['EEXIST'] });
      if (podRoot.uid !== 0 || podRoot.gid !== 0) fchownat(p, dev, name, podRoot.uid, podRoot.gid);
    }
    p.call('close', [dev], { tolerate: 'all' });
  });
}
