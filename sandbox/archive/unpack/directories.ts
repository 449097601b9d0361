/**
 * The directories of the upper that are open, by their paths. Each is given its mode, its default ACL and its time when
 * it is closed, because making entries in it changes its time and is subject to the others. Nothing is remembered
 * of a closed one: when it is needed again, its time and its default ACL are read, and put back later. Only what was taken from one
 * after it was to be closed is, for as long as it is there, and up to {@link MAX_KEPT} bytes.
 */
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { joinPath, splitPath } from '../codec/names';
import type { Timestamp } from '../codec/time';
import { ACL_DEFAULT, type Xattr } from '../codec/xattrs';
import { type Place, entryFailure } from '../faults';
import { allocHow, close, fchmod, fchown, openat2 } from '../io/calls';
import { Branch } from './branch';
import { openBelow, takeDefaultAcl, takeSetGid } from './directory-fds';
import type { Maker } from './maker';
import type { Operations } from './operations';

export interface Directory {
  readonly path: ByteString;
  /** Of its fd in the table of who makes things in it. */
  readonly index: number;
  /** -1 until it is open. */
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
  /** It is not to be used any more, although it may still have to be made. */
  isClosing: boolean;
}

interface Kept {
  readonly mode?: number;
  /** A default one. */
  readonly acl?: Xattr;
}

/** Directories open at one time; an archive in any sensible order needs few. */
const MAX_OPEN = 64;
/** What may be kept for closed directories, in bytes, roughly. */
const MAX_KEPT = 1 << 20;
const KEPT_OVERHEAD = 300;
const IMPLICIT_MODE = 0o755;

export type SetAcl = (fd: number, acl: Xattr, place: Place) => void;

export class DirectoryTable {
  readonly #ops: Operations;
  readonly #maker: Maker;
  readonly #setAcl: SetAcl;
  /** In the order of their last use. */
  readonly #open = new Map<ByteString, Directory>();
  /** What directories are to get back that were to be closed before it was known that they had it. */
  readonly #kept = new Map<ByteString, Kept>();
  /** What was added to it since it was empty. */
  #keptBytes = 0;
  readonly #root = Branch.root();
  #last: Directory;
  readonly root: Directory;

  /** Opens the upper for itself, so `upperFd` may be an O_PATH fd. */
  constructor(ops: Operations, maker: Maker, upperFd: number, setAcl: SetAcl) {
    this.#ops = ops;
    this.#maker = maker;
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
    if (this.#keptBytes > MAX_KEPT) this.#giveBack();
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

  /** Makes a directory, or takes over what is there under this name. The maker does it. */
  make(parent: Directory, base: ByteString, place: Place, whenOther?: () => void): Directory {
    const path = joinPath(parent.path, base);
    const index = this.#maker.place();
    const directory: Directory = {
      path,
      index,
      place,
      fd: -1,
      acls: [],
      branch: parent.branch.open(base),
      pinned: false,
      isClosing: false,
    };
    this.#maker.directory(parent, base, directory, (again) => {
      if (this.#takeOver(parent, base, directory)) return again + 1;
      if (whenOther === undefined) return undefined;
      // Something else has the name: it goes, and the directory is made again.
      whenOther();
      return again;
    });
    this.#add(directory);
    return directory;
  }

  /** Opens a directory that was there already in place of the one that was to be made. False when it is something else. */
  #takeOver(parent: Directory, base: ByteString, directory: Directory): boolean {
    const { failure, batch } = this.#ops.now((b) => {
      openat2(b, b.newSlot(), parent.fd, b.string(base), allocHow(b, C.O_RDONLY | C.O_DIRECTORY));
    });
    if (failure?.errno === 'ENOTDIR' || failure?.errno === 'ELOOP') return false;
    if (failure) throw entryFailure(directory.place, 'making the directory', failure.errno);
    const fd = batch.slot(0);
    this.#maker.opened(directory, fd);
    // A default ACL that it has now would be handed on to what is made in it.
    const acl = takeDefaultAcl(this.#ops, fd, directory.place);
    const { mode } = takeSetGid(this.#ops, fd, directory.place);
    if (mode !== undefined) this.#keep(directory, { mode });
    if (acl) this.#keep(directory, { acl });
    return true;
  }

  /** What a directory that was there already gets back, unless its entry says otherwise: when it is closed, or at the end. */
  #keep(directory: Directory, { mode, acl }: Kept): void {
    if (!directory.isClosing) {
      if (mode !== undefined) directory.mode ??= mode;
      if (acl && !directory.acls.some(({ name }) => name === ACL_DEFAULT)) directory.acls.push(acl);
    } else if (acl || directory.mode === undefined) {
      this.#kept.set(directory.path, { ...this.#kept.get(directory.path), ...(acl ? { acl } : { mode: mode! }) });
      this.#keptBytes += directory.path.length + (acl?.value.length ?? 0) + KEPT_OVERHEAD;
    }
  }

  /** Opens the directories that are to get something back, for them to have it when they are closed. */
  #giveBack(): void {
    this.#ops.flush();
    const all = [...this.#kept];
    this.#kept.clear();
    this.#keptBytes = 0;
    for (const [path, kept] of all) {
      const directory = this.existing(path, { name: path, offset: 0 });
      if (typeof directory === 'object') this.#keep(directory, kept);
    }
  }

  /** Everything at the path and below it is gone: what comes there later does not get back what that was to. */
  removed(path: ByteString): void {
    if (this.#kept.size === 0) return;
    const prefix = `${path}/`;
    for (const kept of this.#kept.keys()) if (kept === path || kept.startsWith(prefix)) this.#kept.delete(kept);
  }

  /** Closes what is open at the path and below it, after it was removed. Such a directory is not to be used any more. */
  forget(path: ByteString): void {
    const prefix = `${path}/`;
    for (const directory of [...this.#open.values()]) {
      if (directory.path !== path && !directory.path.startsWith(prefix)) continue;
      this.#open.delete(directory.path);
      directory.branch.close();
      this.#ops.now((batch) => close(batch, directory.fd));
      this.#maker.forget(directory);
      directory.fd = -1;
      directory.isClosing = true;
    }
    this.#last = this.root;
  }

  /** Closes all of them. */
  finish(): void {
    this.#giveBack();
    for (const directory of [...this.#open.values()].reverse()) this.#close(directory);
    this.#ops.flush();
  }

  /** Closes what is still open, after a failure. */
  abandon(): void {
    this.#ops.abandon();
    for (const fd of this.#maker.abandon()) this.#ops.now((batch) => close(batch, fd));
    this.#open.clear();
  }

  #touch(directory: Directory): void {
    this.#open.delete(directory.path);
    this.#open.set(directory.path, directory);
    this.#last = directory;
  }

  #add(directory: Directory): void {
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
    if (directory.acls.length > 0) this.#setAcls(directory);
    this.#maker.close(directory);
    directory.isClosing = true;
    this.#open.delete(directory.path);
    directory.branch.close();
    if (this.#last === directory) this.#last = this.root;
  }

  /** A mode would change what an ACL says of the group, so the mode and its owner come before. */
  #setAcls(directory: Directory): void {
    const batch = this.#ops.reserve(2, 0);
    const { fd, owner, mode, place } = directory;
    this.#ops.begin(place);
    if (owner) {
      batch.step('setting its owner');
      fchown(batch, fd, owner.uid, owner.gid);
    }
    if (mode !== undefined) {
      batch.step('setting its mode');
      fchmod(batch, fd, mode);
    }
    delete directory.owner;
    delete directory.mode;
    for (const acl of directory.acls) this.#setAcl(fd, acl, place);
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
    const index = this.#maker.place(fd);
    const { mtime, mode } = takeSetGid(this.#ops, fd, place);
    const acl = takeDefaultAcl(this.#ops, fd, place);
    const directory: Directory = {
      path,
      index,
      place,
      fd,
      mtime,
      ...(mode !== undefined && { mode }),
      acls: acl ? [acl] : [],
      branch: this.#root.open(path),
      pinned: false,
      isClosing: false,
    };
    this.#add(directory);
    return directory;
  }
}

function prefixOf(path: ByteString): string {
  return path === '' ? '' : `${path}/`;
}
