/**
 * What only host root may do to an upper. The unpacker runs as root of a user namespace, so it asks for these by directory
 * fd; whoever answers checks that the fd lies on the upper's device and then does just this.
 */
import { C, errnoName } from '../../../syscall';
import { SiltError } from '../../../errors';
import { type ByteString, toBuffer } from '../codec/bytes';
import type { Timestamp } from '../codec/time';
import { OPAQUE, ORIGIN } from '../codec/xattrs';
import { Batch, NOWHERE, slotOf, type SyscallRunner } from '../io/batch';
import { failed, fchownat, fsetxattr, mknodat, umask, utimensat } from '../io/calls';

/** Marks of overlayfs on a directory. */
export interface MarkRequest {
  /**
   * `opaque`: `trusted.overlay.opaque` = `y`. `whiteouts`: an empty `trusted.overlay.origin`, which says "copied up, nobody knows whence". Of a directory that
   * it does not merge with another overlayfs shows whiteouts as names with nothing behind them, and cannot remove it, unless it has that one
   * (ovl_get_inode, fs/overlayfs/inode.c: "non-merge dir that may have whiteouts").
   */
  readonly kind: 'opaque' | 'whiteouts';
  /** Borrowed until the request is answered. */
  readonly dirFd: number;
}

/** Make a device node called `name`, one component, in a directory where nothing has this name. */
export interface DeviceRequest {
  readonly kind: 'device';
  /** Borrowed until the request is answered. */
  readonly dirFd: number;
  readonly name: Buffer;
  readonly type: 'char' | 'block';
  /** Permissions. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly major: number;
  readonly minor: number;
  readonly mtime: Timestamp;
}

export type PrivilegedRequest = MarkRequest | DeviceRequest;
/** Answers when it is done, throws (or rejects) when it cannot be. Several may be under way at once. */
export type Privileged = (request: PrivilegedRequest) => void | Promise<void>;

/** Does what is asked, in this process, which must be host root. Ids are taken as they are. */
export function performPrivileged(runner: SyscallRunner, request: PrivilegedRequest): void {
  const batch = new Batch(runner, { imageSize: 1024, maxCalls: 8 });
  if (request.kind === 'device') {
    addDevice(batch, request);
    return;
  }
  const isOpaque = request.kind === 'opaque';
  batch.step(`marking a directory as ${isOpaque ? 'opaque' : 'one with whiteouts'}`);
  fsetxattr(batch, request.dirFd, batch.string(isOpaque ? OPAQUE : ORIGIN), batch.string('y'), isOpaque ? 1 : 0);
  run(batch);
}

function addDevice(batch: Batch, { dirFd, name, type, mode, uid, gid, major, minor, mtime }: DeviceRequest): void {
  if (name.includes('/') || name.includes(0))
    throw new SiltError('REQUEST_INVALID', 'the name of a device node must be one component');
  const step = `making a device node ${major}:${minor}`;
  batch.step(step);
  const at = batch.bytes(Buffer.concat([name, Buffer.alloc(1)]));
  const number = ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
  // The umask is the whole process's: whatever becomes of the node, the program puts it back.
  const before = batch.newSlot();
  const made = batch.newSlot();
  umask(batch, before, 0);
  mknodat(batch, dirFd, at, (type === 'char' ? C.S_IFCHR : C.S_IFBLK) | (mode & 0o777), number, made);
  batch.tolerateAll();
  umask(batch, NOWHERE, slotOf(before));
  run(batch);
  if (failed(batch.slot(made))) throw failure(step, errnoName(batch.slot(made)));
  batch.clear();
  const again = batch.bytes(Buffer.concat([name, Buffer.alloc(1)]));
  fchownat(batch, dirFd, again, uid, gid);
  utimensat(batch, dirFd, again, mtime);
  run(batch);
}

function run(batch: Batch): void {
  const stopped = batch.run();
  if (stopped) throw failure(stopped.step, stopped.errno);
}

function failure(step: string, errno: string): SiltError {
  const code = errno === 'ENOSPC' || errno === 'EDQUOT' ? 'NO_SPACE' : 'SYSCALL_FAILED';
  return new SiltError(code, `${step}: ${errno}`, { errno });
}

/** The name of an entry as a request has it. */
export function requestName(base: ByteString): Buffer {
  return toBuffer(base);
}
