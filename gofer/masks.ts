import {
  AT_FDCWD,
  cloneTree,
  close,
  flags,
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  mountSetattr,
} from '../syscall';
import type { Fd, ProgramBuilder, Slot } from '../syscall';
import { contextData } from './mount-label';
import type { Overlays } from './overlay';
import { openIfThere } from './target';

/** A path that is not there is neither masked nor made read-only, as runc does. */
const MISSING = ['EBADF'];

/**
 * Hides each path: a directory under one empty read-only tmpfs, anything else under the host's /dev/null.
 *
 * The /dev/null that covers files is cloned from the host's devtmpfs while the gofer still sees it, not looked up in the
 * container, where an image could have put something else in its place.
 */
export function maskPaths(
  p: ProgramBuilder,
  root: Fd,
  paths: readonly string[],
  {
    overlays,
    mountLabel,
  }: { readonly overlays: Pick<Overlays, 'allowClones'>; readonly mountLabel?: string | undefined },
): void {
  if (paths.length === 0) return;
  p.step('preparing the empty directory that masks paths');
  const context = fsopen(p, 'tmpfs');
  fsconfigString(p, context, 'size', '0');
  fsconfigString(p, context, 'nr_inodes', '1');
  for (const [key, value] of contextData(mountLabel)) fsconfigString(p, context, key, value);
  fsconfigFlag(p, context, 'ro');
  fsconfigCreate(p, context);
  const empty = fsmount(p, context, readOnlyAttributes(), 'empty');
  close(p, context);
  overlays.allowClones(p, empty);
  for (const path of paths) {
    p.step(`masking ${path}`);
    p.scope(() => maskPath(p, root, path, empty));
  }
  close(p, empty);
}

/** Tries the path as a directory, then as anything else; what is not there fails both with an errno that is tolerated. */
function maskPath(p: ProgramBuilder, root: Fd, path: string, empty: Slot): void {
  const done = p.label();
  const directory = openIfThere(p, root, path, true);
  attachIfThere(p, cloneTree(p, empty, '', { name: 'cover' }), directory, done);
  const file = openIfThere(p, root, path, false);
  attachIfThere(p, cloneTree(p, AT_FDCWD, '/dev/null', { name: 'null' }), file, done);
  p.place(done);
}

function attachIfThere(p: ProgramBuilder, tree: Slot, target: Slot, done: ReturnType<ProgramBuilder['label']>): void {
  const failed = p.slot('failed');
  p.call(
    'move_mount',
    [tree, p.string(''), target, p.string(''), flags('MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH')],
    { out: failed, tolerate: MISSING },
  );
  close(p, tree);
  close(p, target);
  p.jumpIfZero(failed, done);
}

/** Makes each path, and every mount beneath it, read-only by a bind mount onto itself. */
export function makeReadOnly(p: ProgramBuilder, root: Fd, paths: readonly string[]): void {
  for (const path of paths) {
    p.step(`making ${path} read-only`);
    p.scope(() => makePathReadOnly(p, root, path));
  }
}

function makePathReadOnly(p: ProgramBuilder, root: Fd, path: string): void {
  const target = openIfThere(p, root, path, false);
  const tree = cloneTree(p, target, '', { recursive: true, name: 'tree', tolerate: MISSING });
  mountSetattr(p, tree, { set: readOnlyFlag(), recursive: true }, '', { tolerate: MISSING });
  p.call(
    'move_mount',
    [tree, p.string(''), target, p.string(''), flags('MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH')],
    { tolerate: MISSING },
  );
  close(p, tree);
  close(p, target);
}

function readOnlyFlag(): number {
  return Number(flags('MOUNT_ATTR_RDONLY').value);
}

function readOnlyAttributes(): number {
  return Number(flags('MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC').value);
}
