import { SiltError } from '../errors';
import {
  AT_FDCWD,
  attachAt,
  C,
  cloneTree,
  close,
  type Fd,
  flags,
  fsconfigCreate,
  fsconfigFd,
  fsconfigString,
  fsmount,
  fsopen,
  mountSetattr,
  openat,
  type ProgramBuilder,
  type Slot,
} from '../syscall';
import { COVER, UPPER, USERNS } from './fds';
import { idmapStep } from './idmap-step';
import type { Layer, RootPlan } from './plan';

/** A stranger's upper: marks in it that lead elsewhere must not be followed, and new ones are not made: it stays a plain layer. */
export const PLAIN = [
  ['redirect_dir', 'nofollow'],
  ['metacopy', 'off'],
  ['index', 'off'],
] as const;

/** The root filesystem, attached to the plan's mount point. Returns the O_PATH fd of its root. */
export function mountRoot(p: ProgramBuilder, plan: RootPlan): Slot {
  if (plan.layers.length === 0) throw new SiltError('ROOTFS_INVALID', 'a root filesystem needs at least one layer');
  const root = p.slot('root');
  p.scope(() => {
    const tree = plan.upper === null ? cloneLayer(p, plan.layers[0]!) : makeOverlay(p, plan, plan.upper);
    // An overlay's superblock belongs to the initial user namespace, which has no implicit nodev, and so does a directory's: for a
    // pod with a user namespace the flag has to be given, and the lock keeps it.
    if (plan.upper === null && plan.userns) mountSetattr(p, tree, { set: C.MOUNT_ATTR_NODEV });
    attachAt(p, tree, AT_FDCWD, plan.mountPoint);
    openat(p, AT_FDCWD, plan.mountPoint, 'O_PATH|O_DIRECTORY', { out: root });
    close(p, tree);
  });
  return root;
}

/** A layer as a detached mount, with its owners as this user namespace numbers them where the plan says so. */
export function cloneLayer(p: ProgramBuilder, { path, idmap }: Layer, userns?: Fd): Slot {
  p.step(`adding the layer ${path}`);
  const tree = cloneTree(p, AT_FDCWD, path, { name: 'layer' });
  if (idmap) {
    p.step(idmapStep(path));
    mountSetattr(p, tree, { userns: userns ?? p.donated(USERNS) });
    p.step(`adding the layer ${path}`);
  }
  return tree;
}

/** The overlay of the layers and the upper, as a detached mount. */
function makeOverlay(p: ProgramBuilder, plan: RootPlan, names: NonNullable<RootPlan['upper']>): Slot {
  p.step('opening the overlay filesystem');
  const context = fsopen(p, 'overlay');
  fsconfigString(p, context, 'source', 'overlay');
  if (plan.cover) fsconfigFd(p, context, 'lowerdir+', p.donated(COVER));
  const trees = plan.layers.map((layer) => {
    const tree = cloneLayer(p, layer);
    fsconfigFd(p, context, 'lowerdir+', tree);
    return tree;
  });
  p.step('adding the upper');
  const upper: Fd = p.donated(UPPER);
  const open = (name: string): Slot => {
    const out = p.slot(name);
    p.call('openat', [upper, p.string(name), flags('O_PATH|O_DIRECTORY|O_CLOEXEC'), 0], { out });
    return out;
  };
  const fs = open(names.fs);
  const work = open(names.work);
  fsconfigFd(p, context, 'upperdir', fs);
  fsconfigFd(p, context, 'workdir', work);
  for (const [key, value] of PLAIN) fsconfigString(p, context, key, value);
  p.step('mounting the overlay');
  fsconfigCreate(p, context);
  const overlay = fsmount(p, context, plan.userns ? C.MOUNT_ATTR_NODEV : 0, 'overlay');
  for (const fd of [...trees, fs, work, context]) close(p, fd);
  return overlay;
}
