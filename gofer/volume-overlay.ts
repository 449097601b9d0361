import {
  C,
  cloneTree,
  close,
  type Fd,
  flags,
  mkdirat,
  open,
  openat,
  type ProgramBuilder,
  type Slot,
  type Word,
} from '../syscall';
import { UPPER } from './fds';
import type { Overlays } from './overlay';
import type { BindStep } from './root-plan';

/** Where struct statx (linux/stat.h) has them. */
const STATX = { size: 256, uid: 20, gid: 24, mode: 28, fileSize: 40 };

export interface VolumeOverlay {
  readonly step: BindStep;
  /** In the mount of the uppers. */
  readonly name: string;
  readonly userns: boolean;
  readonly overlays: Overlays;
}

/**
 * `--overlay2=all`: puts something in the place of a volume that takes the container's writes, so that the host's files stay as they
 * were. Over a directory it is an overlay, whose upper is beside that of the root; an overlay cannot lie over a file, so that is
 * copied there. `tree` is the volume as a detached mount, with ids as the pod has them.
 *
 * Returns a mount to be attached to its place; `tree` may be closed then.
 */
export function overlayVolume(p: ProgramBuilder, tree: Fd, volume: VolumeOverlay): Slot {
  const { step, name } = volume;
  p.step(coveringVolume(step));
  const like = lookAt(p, tree);
  return step.directory ? overDirectory(p, tree, volume, like) : copyOfFile(p, step.source, name, like);
}

function coveringVolume({ source }: BindStep): string {
  return `covering the volume ${source}`;
}

interface Owned {
  readonly uid: Word;
  readonly gid: Word;
  /** With the type's bits, which fchmod does not look at. */
  readonly mode: Word;
  readonly size: Word;
}

function lookAt(p: ProgramBuilder, tree: Fd): Owned {
  const stat = p.space(STATX.size, '{statx}');
  p.call('statx', [tree, p.string(''), flags('AT_EMPTY_PATH'), C.STATX_BASIC_STATS, stat]);
  const word = (at: number, bits: 32 | 64, what: string): Word => p.word(stat.plus(at), bits, what);
  return {
    uid: word(STATX.uid, 32, 'uid'),
    gid: word(STATX.gid, 32, 'gid'),
    mode: word(STATX.mode, 32, 'mode'),
    size: word(STATX.fileSize, 64, 'size'),
  };
}

function overDirectory(
  p: ProgramBuilder,
  tree: Fd,
  { step, name, userns, overlays }: VolumeOverlay,
  like: Owned,
): Slot {
  const upper = p.donated(UPPER);
  const work = `${name}.work`;
  for (const directory of [name, work]) mkdirat(p, upper, directory, 0o700);
  const fs = p.slot('directory');
  openat(p, upper, name, 'O_RDONLY|O_DIRECTORY', { out: fs });
  own(p, fs, like);
  close(p, fs);
  const covering = coveringVolume(step);
  return overlays.make(p, { lowers: [{ mount: tree, step: covering }], upper: { fs: name, work }, nodev: userns });
}

function copyOfFile(p: ProgramBuilder, source: string, name: string, like: Owned): Slot {
  const upper = p.donated(UPPER);
  const from = open(p, source, 'O_RDONLY');
  const to = p.slot('copy');
  p.call('openat', [upper, p.string(name), flags('O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC'), 0o600], { out: to });
  p.call('sendfile', [to, from, 0, like.size], { repeat: { count: 3 } });
  own(p, to, like);
  const copy = cloneTree(p, upper, name, { name: 'copy' });
  for (const fd of [from, to]) close(p, fd);
  return copy;
}

function own(p: ProgramBuilder, fd: Slot, { uid, gid, mode }: Owned): void {
  p.call('fchown', [fd, uid, gid]);
  p.call('fchmod', [fd, mode]);
}
