import type { Fd, ProgramBuilder, Slot } from '../syscall';
import { close, fchownat, mkdirat, mknodat, openat2 } from '../syscall';

/** Whose the directories and files are that silt has to create inside a root: the pod's root, as the host numbers it. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface TargetRequest {
  /** O_PATH fd of the container's root. */
  readonly root: Fd;
  /** Absolute path inside the container. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly owner: Owner;
}

/**
 * Opens a place inside a container's root, creating what is missing on the way, and returns the O_PATH fd.
 *
 * Each component is looked up anew from the root with RESOLVE_IN_ROOT, so a symlink of the image leads to where it leads
 * inside the container and never out of it (openat2(2), Linux 5.6), however it is changed meanwhile.
 */
export function openTarget(p: ProgramBuilder, request: TargetRequest): Slot {
  const components = request.path.split('/').filter((name) => name !== '' && name !== '.');
  let dir: Fd = request.root;
  let opened: Slot | undefined;
  components.forEach((name, i) => {
    const last = i === components.length - 1;
    createMissing(p, dir, name, last ? request.kind : 'directory', request.owner);
    const prefix = components.slice(0, i + 1).join('/');
    const how = last && request.kind === 'file' ? 'O_PATH' : 'O_PATH|O_DIRECTORY';
    const next = openat2(p, request.root, prefix, how, 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS', { out: p.slot(name) });
    if (opened) close(p, opened);
    dir = next;
    opened = next;
  });
  // A mount on "/" itself has no component; the root's own fd must stay open, so a second one is made.
  return opened ?? openat2(p, request.root, '.', 'O_PATH|O_DIRECTORY', 'RESOLVE_IN_ROOT', { out: p.slot('root') });
}

/** mkdirat or mknodat of one name. `..` and existing names are left to the lookup that follows. */
function createMissing(p: ProgramBuilder, dir: Fd, name: string, kind: 'directory' | 'file', owner: Owner): void {
  if (name === '..') return;
  const made = p.slot('made');
  // EROFS: the name may be there all the same; if it is not, the lookup says so.
  const options = { out: made, tolerate: ['EEXIST', 'EROFS'] };
  if (kind === 'directory') mkdirat(p, dir, name, 0o755, options);
  else mknodat(p, dir, name, 'S_IFREG', 0o644, 0, options);
  if (owner.uid === 0 && owner.gid === 0) return;
  const there = p.label();
  p.jumpIfNotZero(made, there);
  fchownat(p, dir, name, owner.uid, owner.gid);
  p.place(there);
}

/** Opens a place that must exist; the slot is negative when it does not, and calls on it then fail with EBADF. */
export function openIfThere(p: ProgramBuilder, root: Fd, path: string, directory: boolean): Slot {
  const relative =
    path
      .split('/')
      .filter((name) => name !== '' && name !== '.')
      .join('/') || '.';
  const out = p.slot(relative);
  const tolerate = ['ENOENT', 'ENOTDIR', 'ELOOP'];
  return openat2(
    p,
    root,
    relative,
    directory ? 'O_PATH|O_DIRECTORY' : 'O_PATH',
    'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS',
    { out, tolerate },
  );
}

/** What is mounted at a place; the slot's fd is to be closed. */
export function openMounted(p: ProgramBuilder, root: Fd, destination: string): Slot {
  const path = destination.slice(1) || '.';
  return openat2(p, root, path, 'O_PATH', 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS', { out: p.slot('mounted') });
}
