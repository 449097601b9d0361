/** What is done with the fd of a directory at once, apart from the batch. */
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import type { Timestamp } from '../codec/time';
import { ACL_DEFAULT, type Xattr } from '../codec/xattrs';
import { entryFailure, type Place } from '../faults';
import { allocHow, allocStatx, close, fchmod, fgetxattr, fremovexattr, openat2, readStatx, statx } from '../io/calls';
import type { Operations } from './operations';

const LONGEST_PATH = 4095;
const MAX_ACL = 65536;

/** Opens a directory by its path below another one, however long it is. @returns the errno when that fails. */
export function openBelow(ops: Operations, from: number, path: string): number | string {
  let fd = from;
  for (const piece of pieces(path)) {
    const { failure, batch } = ops.now((b) => {
      openat2(b, b.newSlot(), fd, b.string(piece), allocHow(b, C.O_RDONLY | C.O_DIRECTORY));
    });
    const opened = batch.slot(0);
    if (fd !== from) ops.now((b) => close(b, fd));
    if (failure) return failure.errno;
    fd = opened;
  }
  return fd;
}

/** The path cut at slashes into pieces that the kernel takes. */
function* pieces(path: string): Generator<string> {
  let rest = path;
  while (rest.length > LONGEST_PATH) {
    const cut = rest.lastIndexOf('/', LONGEST_PATH);
    yield rest.slice(0, cut);
    rest = rest.slice(cut + 1);
  }
  yield rest;
}

/**
 * Takes the directory's set-gid bit away, if it has it, because what is made in it would not belong to its maker.
 * @returns when it was last changed, and the mode to put back.
 */
export function takeSetGid(ops: Operations, fd: number, place: Place): { mtime: Timestamp; mode: number | undefined } {
  let at = 0;
  const { failure, batch } = ops.now((b) => {
    b.step('looking at the directory');
    at = allocStatx(b);
    statx(b, b.newSlot(), fd, b.string(''), at);
  });
  if (failure) throw entryFailure(place, failure.step, failure.errno);
  const { mtime, mode } = readStatx(batch.image, at);
  if ((mode & C.S_ISGID) === 0) return { mtime, mode: undefined };
  const { failure: refused } = ops.now((b) => {
    b.step('taking away its set-gid bit');
    fchmod(b, fd, mode & 0o7777 & ~C.S_ISGID);
  });
  if (refused) throw entryFailure(place, refused.step, refused.errno);
  return { mtime, mode: mode & 0o7777 };
}

/** Takes the directory's default ACL away, if it has one, so that it is not handed on to what is made in it. */
export function takeDefaultAcl(ops: Operations, fd: number, place: Place): Xattr | undefined {
  let at = 0;
  const name = ACL_DEFAULT as ByteString;
  const { failure, batch } = ops.now((b) => {
    b.step('reading its default ACL');
    at = b.space(MAX_ACL);
    fgetxattr(b, b.newSlot(), fd, b.string(name), at, MAX_ACL);
    fremovexattr(b, fd, b.string(name));
  });
  if (failure?.errno === 'ENODATA' || failure?.errno === 'EOPNOTSUPP') return undefined;
  if (failure) throw entryFailure(place, failure.step, failure.errno);
  return { name, value: Buffer.from(batch.image.subarray(at, at + batch.slot(0))) };
}
