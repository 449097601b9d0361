/**
 * The directories of the upper that are open, by their paths. Each is given its mode, its default ACL and its time when
 * it is closed, because making entries in it changes its time and is subject to the others. Nothing is remembered
 * of a closed one: when it is needed again, its time and its default ACL are read, and put back later.
 */
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { joinPath, splitPath } from '../codec/names';
import type { Timestamp } from '../codec/time';
import type { Xattr } from '../codec/xattrs';
import { type Place, entryFailure } from '../faults';
import { allocHow, close, fchmod, fchown, futimens, mkdirat, openat2 } from '../io/calls';
import { Branch } from './branch';
import { openBelow, takeDefaultAcl, takeSetGid } from './directory-fds';
import type { Operations } from './operations';

export interface Directory {
  readonly path: ByteString;
  /** -1 once it is closed. */
  fd: number;
  /** The entry that it was last needed for. */
  place: Place;
  /** What it is to have when it is closed. */
  owner?: { readonly uid: number; readonly gid: number };
  mode?: number;
  mtime?: Timestamp;
  acls: Xattr[];
  /** Where it is among those that are open. */
  readonly branch: Branch;
  /** Must stay open. */
  pinned: boolean;
}

/** Directories open at one time; an archive in any sensible order needs few. */
const MAX_OPEN = 64;
const IMPLICIT_MODE = 0o755;
const MAKING = 'making the directory';

export type SetAcl = (fd: number, acl: Xattr, place: Place) => void;

export class DirectoryTable {
  readonly #ops: Operations;
  readonly #setAcl: SetAcl;
  /** In the order of their last use. */
  readonly #open = new Map<ByteString, Directory>();
  readonly #root = Branch.root();
  #last: Directory;
  readonly root: Directory;

  /** Opens the upper for itself, so `upperFd` may be an O_PATH fd. */
  constructor(ops: Operations, upperFd: number, setAcl: SetAcl) {
    this.#ops = ops;
    this.#setAcl = setAcl;
    const place: Place = { name: './' as ByteString, offset: 0 };
    const { failure, batch } = ops.now((b) => {
      b.step('opening the upper');
      openat2(b, b.newSlot(), upperFd, b.string('.'), allocHow(b, C.O_RDONLY | C.O_DIRECTORY));
    });
    if (failure) throw entryFailure(place, failure.step, failure.errno);
    this.root = this.#adopt('' as ByteString, batch.slot(0), place);
    this.root.pinned = true;
    this.#last = this.root;
  }

  /** An open directory. */
  find(path: ByteString): Directory | undefined {
    if (this.#last.path === path) return this.#last;
    const found = this.#open.get(path);
    if (found) this.#touch(found);
    return found;
  }

  /** The directory, opened, and made with what leads to it if it is not there. */
  at(path: ByteString, place: Place): Directory {
    const found = this.find(path);
    if (found) return found;
    const missing: ByteString[] = [];
    for (let at = path; ; at = splitPath(at).dir) {
      const directory = this.find(at) ?? this.existing(at, place);
      if (typeof directory === 'object') return this.#makeAll(directory, missing, place);
      if (directory !== 'ENOENT') throw entryFailure(place, 'opening the directory that it is in', directory);
      missing.push(at);
    }
  }

  #makeAll(from: Directory, missing: ByteString[], place: Place): Directory {
    let directory = from;
    for (const path of missing.reverse()) {
      directory = this.make(directory, splitPath(path).base, place);
      directory.mode = IMPLICIT_MODE;
    }
    return directory;
  }

  /** Opens a directory that is there already. @returns the errno when that fails. */
  existing(path: ByteString, place: Place): Directory | string {
    const found = this.find(path);
    if (found) return found;
    this.#ops.flush();
    const fd = this.#walk(path);
    if (typeof fd === 'string') return fd;
    return this.#adopt(path, fd, place);
  }

  /** Makes a directory, or takes over what is there under this name; `whenOther` takes away what is no directory. */
  make(parent: Directory, base: ByteString, place: Place, whenOther?: () => void): Directory {
    this.#ops.flush();
    const path = joinPath(parent.path, base);
    for (;;) {
      const { failure, batch } = this.#ops.now((b) => {
        const name = b.string(base);
        b.step(MAKING);
        mkdirat(b, parent.fd, name, 0o700);
        openat2(b, b.newSlot(), parent.fd, name, allocHow(b, C.O_RDONLY | C.O_DIRECTORY));
      });
      if (!failure) return this.#add({ path, place, fd: batch.slot(0), acls: [], branch: parent.branch.open(base), pinned: false }); // prettier-ignore
      if (failure.errno !== 'EEXIST') throw entryFailure(place, MAKING, failure.errno);
      const fd = openBelow(this.#ops, parent.fd, base);
      if (typeof fd === 'number') return this.#adopt(path, fd, place);
      if ((fd !== 'ENOTDIR' && fd !== 'ELOOP') || whenOther === undefined) throw entryFailure(place, MAKING, fd);
      whenOther();
    }
  }

  /** Closes what is open at the path and below it, after it was removed. Such a directory is not to be used any more. */
  forget(path: ByteString): void {
    const prefix = `${path}/`;
    for (const directory of [...this.#open.values()]) {
      if (directory.path !== path && !directory.path.startsWith(prefix)) continue;
      this.#open.delete(directory.path);
      directory.branch.close();
      this.#closeFd(directory);
    }
    this.#last = this.root;
  }

  /** Closes all of them. */
  finish(): void {
    for (const directory of [...this.#open.values()].reverse()) this.#close(directory);
  }

  /** Closes what is still open, after a failure. */
  abandon(): void {
    this.#ops.abandon();
    for (const directory of this.#open.values()) this.#closeFd(directory);
    this.#open.clear();
  }

  #touch(directory: Directory): void {
    this.#open.delete(directory.path);
    this.#open.set(directory.path, directory);
    this.#last = directory;
  }

  #add(directory: Directory): Directory {
    this.#open.set(directory.path, directory);
    this.#last = directory;
    if (this.#open.size <= MAX_OPEN) return directory;
    for (const oldest of this.#open.values()) {
      if (oldest.pinned || oldest === directory) continue;
      this.#close(oldest);
      break;
    }
    return directory;
  }

  /** Gives the directory what it is to have once everything is in it, and closes it. */
  #close(directory: Directory): void {
    const { fd, owner, mode, mtime, acls, place } = directory;
    const batch = this.#ops.reserve(3, 64);
    this.#ops.begin(place);
    if (owner) {
      batch.step('setting its owner');
      fchown(batch, fd, owner.uid, owner.gid);
    }
    // It would change what an ACL says of the group.
    if (mode !== undefined) {
      batch.step('setting its mode');
      fchmod(batch, fd, mode);
    }
    for (const acl of acls) this.#setAcl(fd, acl, place);
    if (mtime) this.#setTime(fd, mtime, place);
    this.#ops.flush();
    this.#open.delete(directory.path);
    directory.branch.close();
    this.#closeFd(directory);
    if (this.#last === directory) this.#last = this.root;
  }

  #setTime(fd: number, mtime: Timestamp, place: Place): void {
    const batch = this.#ops.reserve(1, 64);
    this.#ops.begin(place);
    batch.step('setting its time');
    futimens(batch, fd, mtime);
  }

  #closeFd(directory: Directory): void {
    const { fd } = directory;
    directory.fd = -1;
    this.#ops.now((batch) => close(batch, fd));
  }

  /** Opens a path from the nearest directory that is open. */
  #walk(path: ByteString): number | string {
    let from = this.root;
    for (const directory of this.#open.values()) {
      if (directory.path.length > from.path.length && path.startsWith(prefixOf(directory.path))) from = directory;
    }
    return openBelow(this.#ops, from.fd, path.slice(prefixOf(from.path).length));
  }

  /** Takes an open directory into the table, with the time and the ACL that it is to have again. */
  #adopt(path: ByteString, fd: number, place: Place): Directory {
    const { mtime, mode } = takeSetGid(this.#ops, fd, place);
    const acl = takeDefaultAcl(this.#ops, fd, place);
    return this.#add({
      path,
      place,
      fd,
      mtime,
      ...(mode !== undefined && { mode }),
      acls: acl ? [acl] : [],
      branch: this.#root.open(path),
      pinned: false,
    });
  }
}

function prefixOf(path: ByteString): string {
  return path === '' ? '' : `${path}/`;
}
