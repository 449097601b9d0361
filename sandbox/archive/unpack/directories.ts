/**
 * The directories of the upper that are open, by their paths. Each is given its mode, its default ACL and its time when
 * it is closed, because making entries in it changes its time and is subject to the others. Nothing is remembered
 * of a closed one: when it is needed again, its time and its default ACL are read, and put back later.
 */
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { joinPath, splitPath } from '../codec/names';
import type { Timestamp } from '../codec/time';
import { ACL_DEFAULT, type Xattr } from '../codec/xattrs';
import { type Place, entryFailure } from '../faults';
import { type Arg, slotOf } from '../io/batch';
import { allocHow, close, fchmod, futimens, mkdirat, openat2 } from '../io/calls';
import { openBelow, takeDefaultAcl, takeSetGid } from './directory-fds';
import type { Opening, Operations, Recover } from './operations';

export interface Directory extends Opening {
  readonly path: ByteString;
  /** The entry that it was last needed for. */
  place: Place;
  /** What it is to have when it is closed. */
  mode?: number;
  mtime?: Timestamp;
  acls: Xattr[];
  /** Names in it below which other directories are open. */
  readonly below: Set<string>;
  /** Must stay open. */
  pinned: boolean;
}

/** Directories open at one time; an archive in any sensible order needs few. */
const MAX_OPEN = 64;
const IMPLICIT_MODE = 0o755;

export type SetAcl = (fd: () => Arg, acl: Xattr, place: Place) => void;

export class DirectoryTable {
  readonly #ops: Operations;
  readonly #setAcl: SetAcl;
  /** In the order of their last use. */
  readonly #open = new Map<ByteString, Directory>();
  /** The fds that are ours to close. */
  readonly #fds = new Set<number>();
  #last: Directory;
  readonly root: Directory;

  /** Opens the upper for itself, so `upperFd` may be an O_PATH fd. */
  constructor(ops: Operations, upperFd: number, setAcl: SetAcl) {
    this.#ops = ops;
    this.#setAcl = setAcl;
    ops.onSettled((opened, closed) => {
      if (opened) this.#fds.add(opened.fd);
      if (closed) this.#fds.delete(closed.fd);
    });
    const place: Place = { name: './' as ByteString, offset: 0 };
    const { failure, batch } = ops.now((b) => {
      b.step('opening the upper');
      openat2(b, b.newSlot(), upperFd, b.string('.'), allocHow(b, C.O_RDONLY | C.O_DIRECTORY));
    });
    if (failure) throw entryFailure(place, failure.step, failure.errno);
    const fd = batch.slot(0);
    this.#fds.add(fd);
    this.root = this.#adopt('' as ByteString, fd, place);
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
    this.#fds.add(fd);
    return this.#adopt(path, fd, place);
  }

  /** Makes a directory, or takes over what is there under this name. The batch does it. */
  make(parent: Directory, base: ByteString, place: Place, whenOther?: () => void): Directory {
    const batch = this.#ops.reserve(4, base.length + 16, 1);
    const slot = batch.newSlot();
    const path = joinPath(parent.path, base);
    const directory: Directory = { path, place, fd: -1, ref: slotOf(slot), acls: [], below: new Set(), pinned: false };
    const start = this.#ops.begin(place, this.#recover(parent, base, directory, whenOther));
    const name = batch.string(base);
    batch.step('making the directory');
    mkdirat(batch, parent.ref, name, 0o700);
    const call = openat2(batch, slot, parent.ref, name, this.#ops.directory);
    if (call !== start + 1) throw new Error('the calls that make a directory are not next to each other');
    this.#ops.opens(directory, slot);
    this.#add(directory);
    return directory;
  }

  #recover(parent: Directory, base: ByteString, directory: Directory, whenOther?: () => void): Recover {
    return ({ index, errno, step }) => {
      if (errno !== 'EEXIST' || step !== 'making the directory') return undefined;
      const { failure, batch } = this.#ops.now((b) => {
        openat2(b, b.newSlot(), parent.fd, b.string(base), allocHow(b, C.O_RDONLY | C.O_DIRECTORY));
      });
      if (failure) {
        if (whenOther === undefined || (failure.errno !== 'ENOTDIR' && failure.errno !== 'ELOOP')) return undefined;
        // Something else has the name: it goes, and the directory is made again.
        whenOther();
        return index;
      }
      const fd = batch.slot(0);
      // A default ACL that it has now would be handed on to what is made in it.
      const acl = takeDefaultAcl(this.#ops, fd, directory.place);
      const { mode } = takeSetGid(this.#ops, fd, directory.place);
      if (mode !== undefined) directory.mode ??= mode;
      if (acl && !directory.acls.some(({ name }) => name === ACL_DEFAULT)) directory.acls.push(acl);
      this.#ops.now((b) => close(b, fd));
      return index + 1;
    };
  }

  /** Everything at the path and below it is gone: closes what is open of it. */
  forget(path: ByteString): void {
    const prefix = `${path}/`;
    for (const directory of [...this.#open.values()]) {
      if (directory.path !== path && !directory.path.startsWith(prefix)) continue;
      this.#open.delete(directory.path);
      this.#fds.delete(directory.fd);
      this.#ops.now((batch) => close(batch, directory.fd));
    }
    this.#unlist(path);
    this.#last = this.root;
  }

  /** Closes all of them. */
  finish(): void {
    for (const directory of [...this.#open.values()].reverse()) this.#close(directory);
    this.#ops.flush();
  }

  /** Closes what is still open, after a failure. */
  abandon(): void {
    this.#ops.abandon();
    for (const fd of this.#fds) this.#ops.now((batch) => close(batch, fd));
    this.#fds.clear();
    this.#open.clear();
  }

  #touch(directory: Directory): void {
    this.#open.delete(directory.path);
    this.#open.set(directory.path, directory);
    this.#last = directory;
  }

  #add(directory: Directory): void {
    const prefix = prefixOf(directory.path);
    for (const other of this.#open.values()) {
      const otherPrefix = prefixOf(other.path);
      if (directory.path.startsWith(otherPrefix)) other.below.add(firstComponent(directory.path, otherPrefix));
      else if (other.path.startsWith(prefix)) directory.below.add(firstComponent(other.path, prefix));
    }
    this.#open.set(directory.path, directory);
    this.#last = directory;
    if (this.#open.size <= MAX_OPEN) return;
    for (const oldest of this.#open.values()) {
      if (oldest.pinned || oldest === directory) continue;
      this.#close(oldest);
      return;
    }
  }

  #close(directory: Directory): void {
    this.#seal(directory);
    this.#ops.reserve(1, 0);
    this.#ops.begin(directory.place);
    close(this.#ops.batch, directory.ref);
    this.#ops.closes(directory);
    this.#open.delete(directory.path);
    this.#unlist(directory.path);
    if (this.#last === directory) this.#last = this.root;
  }

  /** Takes the path out of what the directories above it list as open below them. */
  #unlist(path: ByteString): void {
    const others = [...this.#open.values()];
    for (const above of others) {
      const prefix = prefixOf(above.path);
      if (!path.startsWith(prefix)) continue;
      const name = firstComponent(path, prefix);
      const branch = prefix + name;
      if (!others.some((other) => other.path.startsWith(branch) && firstComponent(other.path, prefix) === name))
        above.below.delete(name);
    }
  }

  #seal(directory: Directory): void {
    // Only once it is made is it known whether it was there already, and then has an ACL to be put back.
    if (directory.fd < 0) this.#ops.settle();
    if (directory.fd < 0) this.#ops.flush();
    const { place, mode, mtime } = directory;
    if (mode !== undefined) {
      const batch = this.#ops.reserve(1, 0);
      this.#ops.begin(place);
      batch.step('setting its mode');
      fchmod(batch, directory.ref, mode);
    }
    for (const acl of directory.acls) this.#setAcl(() => directory.ref, acl, place);
    if (mtime === undefined) return;
    const batch = this.#ops.reserve(1, 32);
    this.#ops.begin(place);
    batch.step('setting its time');
    futimens(batch, directory.ref, mtime);
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
    const directory: Directory = {
      path,
      place,
      fd,
      ref: fd,
      mtime,
      ...(mode !== undefined && { mode }),
      acls: acl ? [acl] : [],
      below: new Set(),
      pinned: false,
    };
    this.#add(directory);
    return directory;
  }
}

function prefixOf(path: ByteString): string {
  return path === '' ? '' : `${path}/`;
}

function firstComponent(path: string, prefix: string): string {
  const end = path.indexOf('/', prefix.length);
  return path.slice(prefix.length, end < 0 ? path.length : end);
}
