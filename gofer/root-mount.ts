import { SiltError } from '../errors';
import { AT_FDCWD, attachAt, C, close, mountSetattr, openat, type ProgramBuilder, type Slot } from '../syscall';
import { COVER, USERNS } from './fds';
import { type OpenedLayer, openLayers } from './layer';
import type { Overlays } from './overlay';
import type { RootPlan } from './root-plan';

/** The root filesystem, attached to the plan's mount point. Returns the O_PATH fd of its root. */
export function mountRoot(p: ProgramBuilder, plan: RootPlan, overlays: Overlays): Slot {
  if (plan.layers.length === 0) throw new SiltError('ROOTFS_INVALID', 'a root filesystem needs at least one layer');
  const root = p.slot('root');
  p.scope(() => {
    const layers = openLayers(p, plan.layers, () => p.donated(USERNS));
    overlays.prepare(p);
    const tree = plan.upper === null ? layers[0]!.mount : makeOverlay(p, plan, layers, overlays);
    p.step('mounting the root filesystem');
    // An overlay's superblock belongs to the initial user namespace, which has no implicit nodev, and so does a directory's: for a
    // pod with a user namespace the flag has to be given, and the lock keeps it.
    if (plan.upper === null && plan.userns) mountSetattr(p, tree, { set: C.MOUNT_ATTR_NODEV });
    attachAt(p, tree, AT_FDCWD, plan.mountPoint);
    openat(p, AT_FDCWD, plan.mountPoint, 'O_PATH|O_DIRECTORY', { out: root });
    for (const fd of new Set([tree, ...layers.map(({ mount }) => mount)])) close(p, fd);
  });
  return root;
}

function makeOverlay(
  p: ProgramBuilder,
  { cover, upper, userns, mountLabel }: RootPlan,
  layers: readonly OpenedLayer[],
  overlays: Overlays,
): Slot {
  const covers = cover ? [{ mount: p.donated(COVER), step: 'adding the layer that hides the filestore' }] : [];
  return overlays.make(p, { lowers: [...covers, ...layers], upper: upper!, nodev: userns, mountLabel });
}
