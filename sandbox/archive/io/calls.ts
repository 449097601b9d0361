/** The system calls that archives are packed and unpacked with, and the structs that they read and write. */
import { C } from '../../../syscall';
import type { Timestamp } from '../codec/time';
import { addressOf, type Arg, type Batch, callNumber, NOWHERE, word64At } from './batch';

const NR = {
  openat2: callNumber('openat2'),
  close: callNumber('close'),
  read: callNumber('read'),
  write: callNumber('write'),
  pread64: callNumber('pread64'),
  pwrite64: callNumber('pwrite64'),
  lseek: callNumber('lseek'),
  ftruncate: callNumber('ftruncate'),
  sendfile: callNumber('sendfile'),
  statx: callNumber('statx'),
  getdents64: callNumber('getdents64'),
  readlinkat: callNumber('readlinkat'),
  mkdirat: callNumber('mkdirat'),
  mknodat: callNumber('mknodat'),
  umask: callNumber('umask'),
  symlinkat: callNumber('symlinkat'),
  linkat: callNumber('linkat'),
  unlinkat: callNumber('unlinkat'),
  fchown: callNumber('fchown'),
  fchownat: callNumber('fchownat'),
  fchmod: callNumber('fchmod'),
  utimensat: callNumber('utimensat'),
  fsetxattr: callNumber('fsetxattr'),
  lsetxattr: callNumber('lsetxattr'),
  fgetxattr: callNumber('fgetxattr'),
  lgetxattr: callNumber('lgetxattr'),
  flistxattr: callNumber('flistxattr'),
  llistxattr: callNumber('llistxattr'),
  fremovexattr: callNumber('fremovexattr'),
  fchdir: callNumber('fchdir'),
  ppoll: callNumber('ppoll'),
} as const;

/** Names of all system calls that archives are packed and unpacked with. */
export const ARCHIVE_CALLS: readonly string[] = Object.keys(NR);

/** What {@link allocHow} takes. The kernel keeps every path inside of the directory that it starts from. */
const INSIDE = C.RESOLVE_BENEATH | C.RESOLVE_NO_SYMLINKS | C.RESOLVE_NO_MAGICLINKS;
const HOW_SIZE = 24;
const STATX_SIZE = 256;

/** openat2(2)'s open_how: flags and mode, and resolving beneath the directory without following symlinks. */
export function allocHow(batch: Batch, flags: number, mode = 0, resolve = 0): number {
  const at = batch.space(HOW_SIZE);
  batch.setWord64(at, flags | C.O_CLOEXEC);
  batch.setWord64(at + 8, mode);
  batch.setWord64(at + 16, INSIDE | resolve);
  return at;
}

export const allocStatx = (batch: Batch): number => batch.space(STATX_SIZE);

/** Two timespecs for utimensat(2): the access time is made equal to the modification time. */
export function allocTimes(batch: Batch, time: Timestamp): number {
  const at = batch.space(32);
  for (const half of [at, at + 16]) {
    batch.setWord64(half, time.seconds);
    batch.setWord64(half + 8, time.nanoseconds);
  }
  return at;
}

/** `name` and `how` are places in the image, as everywhere below. */
export function openat2(batch: Batch, out: number, dir: Arg, name: number, how: number): number {
  return batch.call(NR.openat2, out, dir, addressOf(name), addressOf(how), HOW_SIZE);
}

const NEW_FILE = C.O_WRONLY | C.O_CREAT | C.O_EXCL;

/** Makes a regular file of this mode, without the umask's bits, and opens it for writing. */
export function createFile(batch: Batch, out: number, dir: Arg, name: number, mode: number): number {
  return openat2(batch, out, dir, name, allocHow(batch, NEW_FILE, mode));
}

export function close(batch: Batch, fd: Arg): number {
  const index = batch.call(NR.close, NOWHERE, fd);
  batch.tolerateAll();
  return index;
}

/** Writes all of the bytes at the file's offset. */
export function write(batch: Batch, fd: Arg, data: number, length: number): void {
  batch.call(NR.write, NOWHERE, fd, addressOf(data), length);
  batch.repeat(2, 1);
}

/** Writes all of the bytes at `offset`, up to 2^53. */
export function pwrite(batch: Batch, fd: Arg, data: number, length: number, offset: number): void {
  batch.call(NR.pwrite64, NOWHERE, fd, addressOf(data), length, word64At(batch.word64(offset)));
  batch.repeat(2, 1, 3);
}

export function pread(batch: Batch, out: number, fd: Arg, data: number, length: number, offset: number): number {
  return batch.call(NR.pread64, out, fd, addressOf(data), length, word64At(batch.word64(offset)));
}

export function lseek(batch: Batch, out: number, fd: Arg, offset: number, whence: number): number {
  return batch.call(NR.lseek, out, fd, word64At(batch.word64(offset)), whence);
}

export function ftruncate(batch: Batch, fd: Arg, size: number): void {
  batch.call(NR.ftruncate, NOWHERE, fd, word64At(batch.word64(size)));
}

/** Moves exactly `length` bytes; `offset` is a word in the image, which the kernel advances. Too few: ENODATA. */
export function sendfile(batch: Batch, to: Arg, from: Arg, offset: number, length: number): void {
  batch.call(NR.sendfile, NOWHERE, to, from, addressOf(offset), length);
  batch.repeat(3);
}

/** One sendfile(2) of at most `length` bytes, whose result goes to `out`. */
export function sendfileOnce(batch: Batch, out: number, to: Arg, from: Arg, offset: number, length: number): void {
  batch.call(NR.sendfile, out, to, from, addressOf(offset), length);
}

/** statx(2) of a name in a directory, or of the directory or file itself when `name` is an empty string. */
export function statx(batch: Batch, out: number, dir: Arg, name: number, into: number): number {
  const how = C.AT_SYMLINK_NOFOLLOW | C.AT_EMPTY_PATH;
  return batch.call(NR.statx, out, dir, addressOf(name), how, C.STATX_BASIC_STATS, addressOf(into));
}

export function getdents(batch: Batch, out: number, fd: Arg, into: number, size: number): number {
  return batch.call(NR.getdents64, out, fd, addressOf(into), size);
}

export function readlinkat(batch: Batch, out: number, dir: Arg, name: number, into: number, size: number): number {
  return batch.call(NR.readlinkat, out, dir, addressOf(name), addressOf(into), size);
}

export function mkdirat(batch: Batch, dir: Arg, name: number, mode: number): number {
  return batch.call(NR.mkdirat, NOWHERE, dir, addressOf(name), mode);
}

export function mknodat(batch: Batch, dir: Arg, name: number, mode: number, device: number, out = NOWHERE): number {
  return batch.call(NR.mknodat, out, dir, addressOf(name), mode, device);
}

/** Sets the umask of this process; the old one goes to `out`. */
export function umask(batch: Batch, out: number, mask: Arg): void {
  batch.call(NR.umask, out, mask);
}

export function symlinkat(batch: Batch, target: number, dir: Arg, name: number): number {
  return batch.call(NR.symlinkat, NOWHERE, addressOf(target), dir, addressOf(name));
}

export function linkat(batch: Batch, fromDir: Arg, from: number, dir: Arg, name: number): number {
  return batch.call(NR.linkat, NOWHERE, fromDir, addressOf(from), dir, addressOf(name), 0);
}

export function unlinkat(batch: Batch, dir: Arg, name: number, flags = 0): number {
  return batch.call(NR.unlinkat, NOWHERE, dir, addressOf(name), flags);
}

export function fchown(batch: Batch, fd: Arg, uid: number, gid: number): void {
  batch.call(NR.fchown, NOWHERE, fd, uid, gid);
}

export function fchownat(batch: Batch, dir: Arg, name: number, uid: number, gid: number): void {
  batch.call(NR.fchownat, NOWHERE, dir, addressOf(name), uid, gid, C.AT_SYMLINK_NOFOLLOW);
}

export function fchmod(batch: Batch, fd: Arg, mode: number): void {
  batch.call(NR.fchmod, NOWHERE, fd, mode);
}

/** utimensat(2) of an open file. */
export function futimens(batch: Batch, fd: Arg, time: Timestamp): void {
  batch.call(NR.utimensat, NOWHERE, fd, 0, addressOf(allocTimes(batch, time)), 0);
}

export function utimensat(batch: Batch, dir: Arg, name: number, time: Timestamp): void {
  batch.call(NR.utimensat, NOWHERE, dir, addressOf(name), addressOf(allocTimes(batch, time)), C.AT_SYMLINK_NOFOLLOW);
}

export function fsetxattr(batch: Batch, fd: Arg, name: number, value: number, size: number): number {
  return batch.call(NR.fsetxattr, NOWHERE, fd, addressOf(name), addressOf(value), size, 0);
}

/** `path` is a name in the working directory: the calls that take a directory are newer than Linux 6.12. */
export function lsetxattr(batch: Batch, path: number, name: number, value: number, size: number): number {
  return batch.call(NR.lsetxattr, NOWHERE, addressOf(path), addressOf(name), addressOf(value), size, 0);
}

export function fgetxattr(batch: Batch, out: number, fd: Arg, name: number, into: number, size: number): number {
  return batch.call(NR.fgetxattr, out, fd, addressOf(name), addressOf(into), size);
}

export function lgetxattr(batch: Batch, out: number, path: number, name: number, into: number, size: number): number {
  return batch.call(NR.lgetxattr, out, addressOf(path), addressOf(name), addressOf(into), size);
}

export function flistxattr(batch: Batch, out: number, fd: Arg, into: number, size: number): number {
  return batch.call(NR.flistxattr, out, fd, addressOf(into), size);
}

export function llistxattr(batch: Batch, out: number, path: number, into: number, size: number): number {
  return batch.call(NR.llistxattr, out, addressOf(path), addressOf(into), size);
}

export function fremovexattr(batch: Batch, fd: Arg, name: number): number {
  return batch.call(NR.fremovexattr, NOWHERE, fd, addressOf(name));
}

export function fchdir(batch: Batch, fd: Arg): void {
  batch.call(NR.fchdir, NOWHERE, fd);
}

/** Waits until `fd` can be written to. */
export function waitWritable(batch: Batch, fd: number): void {
  const poll = batch.space(8);
  batch.image.writeInt32LE(fd, poll);
  batch.image.writeInt32LE(C.POLLOUT, poll + 4);
  batch.call(NR.ppoll, NOWHERE, addressOf(poll), 1, 0, 0, 0);
}

export interface Stat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  /** Allocated bytes. */
  readonly allocated: number;
  readonly mtime: Timestamp;
  readonly major: number;
  readonly minor: number;
}

/** What statx(2) wrote: struct statx of linux/stat.h. */
export function readStatx(image: Buffer, at: number): Stat {
  return {
    nlink: image.readUInt32LE(at + 16),
    uid: image.readUInt32LE(at + 20),
    gid: image.readUInt32LE(at + 24),
    mode: image.readUInt16LE(at + 28),
    size: readWord64(image, at + 40),
    allocated: readWord64(image, at + 48) * 512,
    mtime: { seconds: readWord64(image, at + 112), nanoseconds: image.readUInt32LE(at + 120) },
    major: image.readUInt32LE(at + 128),
    minor: image.readUInt32LE(at + 132),
  };
}

/** Inode and device number of what statx(2) looked at; equal keys are the same file. */
export function fileKey(image: Buffer, at: number): string {
  const inode = image.readBigUInt64LE(at + 32).toString(36);
  return `${inode}@${image.readUInt32LE(at + 136)}:${image.readUInt32LE(at + 140)}`;
}

/** A signed 64-bit number; beyond 2^53 the nearest one that JavaScript has. */
export function readWord64(image: Buffer, at: number): number {
  return image.readInt32LE(at + 4) * 2 ** 32 + image.readUInt32LE(at);
}

const ERRNO_MAX = 4095;

/** Did the call fail whose result this is? */
export function failed(result: number): boolean {
  return result < 0 && result >= -ERRNO_MAX;
}
