import path from 'node:path';
import { C, cloneTree, close, type Fd, mountSetattr, type ProgramBuilder, type Slot } from '../syscall';
import { overlayDirectories } from './engine-mounts';
import { type Mounted, mountOf, mountsBeneath, readMounts } from './mounted';
import { openLayers } from './layer';
import type { Overlays } from './overlay';
import type { Layer } from './root-plan';

/** What a host path shows of an overlay. */
export interface OverlayView {
  /** Directories of the host, the topmost first; an upper is the first of them. */
  readonly layers: readonly string[];
  /** The upper, if there is one: what is shown is the overlay only as long as nobody writes to it. */
  readonly upper: string | undefined;
  /** The path beneath the overlay's root; empty for the whole. */
  readonly inside: string;
}

/**
 * Takes apart the overlay that a path lies on, for a mount that is only read: containerd mounts an image that is a volume (image volumes of
 * Kubernetes) as one with an upper of its own, to which nobody writes since each container gets it read-only (mutateImageMount in its
 * internal/cri/server). Undefined for everything else, and when something is mounted beneath.
 * @param source absolute, without symlinks
 */
export function overlayView(source: string, mounts: readonly Mounted[] = readMounts()): OverlayView | undefined {
  const mounted = mountOf(source, mounts);
  if (mounted?.type !== 'overlay' || mountsBeneath(source, mounts).length > 0) return undefined;
  const { upper, lowers } = overlayDirectories(mounted);
  const layers = [...(upper === undefined ? [] : [upper]), ...lowers];
  if (lowers.length === 0 || !layers.every((layer) => path.isAbsolute(layer))) return undefined;
  return { layers, upper, inside: path.relative(mounted.point, source) };
}

/**
 * An overlay cannot be idmapped (Linux 6.18), its layers can: the same overlay once more, of layers that show their owners as the pod
 * numbers them. Returns a mount to be attached to its place.
 */
export function showOverlayView(
  p: ProgramBuilder,
  { layers, inside }: { readonly layers: readonly Layer[]; readonly inside: string },
  userns: Fd,
  overlays: Overlays,
): Slot {
  const lowers = openLayers(p, layers, () => userns);
  const whole = overlays.make(p, { lowers, nodev: true });
  mountSetattr(p, whole, { set: C.MOUNT_ATTR_RDONLY });
  for (const { mount } of lowers) close(p, mount);
  if (inside === '') return whole;
  const part = cloneTree(p, whole, inside, { name: 'part' });
  close(p, whole);
  return part;
}
