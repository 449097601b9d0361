import path from 'node:path';
import {
  C,
  cloneTree,
  close,
  type Fd,
  fsconfigCreate,
  fsconfigFd,
  fsconfigString,
  fsmount,
  fsopen,
  type ProgramBuilder,
  type Slot,
} from '../syscall';
import { overlayDirectories } from './engine-mounts';
import { type Mounted, mountOf, mountsBeneath, readMounts } from './mounted';
import { type Layer } from './plan';
import { cloneLayer, PLAIN } from './root-mount';

/** What a host path shows of an overlay that nobody writes to. */
export interface OverlayView {
  /** Directories of the host, the topmost first. */
  readonly layers: readonly string[];
  /** The path beneath the overlay's root; empty for the whole. */
  readonly inside: string;
}

/**
 * Takes apart the overlay without an upper that a path lies on, which is how containerd mounts an image that is a volume (image volumes of
 * Kubernetes). Undefined for everything else, and when something is mounted beneath.
 * @param source absolute, without symlinks
 */
export function overlayView(source: string, mounts: readonly Mounted[] = readMounts()): OverlayView | undefined {
  const mounted = mountOf(source, mounts);
  if (mounted?.type !== 'overlay' || mountsBeneath(source, mounts).length > 0) return undefined;
  const { upper, lowers } = overlayDirectories(mounted);
  if (upper !== undefined || lowers.length === 0 || !lowers.every((layer) => path.isAbsolute(layer))) return undefined;
  return { layers: lowers, inside: path.relative(mounted.point, source) };
}

/**
 * An overlay cannot be idmapped (Linux 6.18), its layers can: the same overlay once more, of layers that show their owners as the pod
 * numbers them. Returns a detached mount. Its part is cloned from a mount that is attached nowhere, which takes Linux 6.15.
 */
export function showOverlayView(p: ProgramBuilder, layers: readonly Layer[], inside: string, userns: Fd): Slot {
  const context = fsopen(p, 'overlay');
  fsconfigString(p, context, 'source', 'overlay');
  const trees = layers.map((layer) => {
    const tree = cloneLayer(p, layer, userns);
    fsconfigFd(p, context, 'lowerdir+', tree);
    return tree;
  });
  for (const [key, value] of PLAIN) fsconfigString(p, context, key, value);
  fsconfigCreate(p, context);
  const whole = fsmount(p, context, C.MOUNT_ATTR_RDONLY | C.MOUNT_ATTR_NODEV, 'view');
  for (const fd of [...trees, context]) close(p, fd);
  if (inside === '') return whole;
  const part = cloneTree(p, whole, inside, { name: 'part' });
  close(p, whole);
  return part;
}
