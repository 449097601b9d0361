/** Applies entries to an upper, one after the other. */
import type { ByteString } from '../codec/bytes';
import { joinPath } from '../codec/names';
import { ACL_ACCESS, ACL_DEFAULT, OPAQUE, type Xattr } from '../codec/xattrs';
import type { Entry, OnWarning } from '../entry';
import { archiveInvalid, type Place } from '../faults';
import type { SyscallRunner } from '../io/batch';
import type { ArchiveReader } from '../reader/reader';
import { Attributes } from './attributes';
import { type Directory, DirectoryTable } from './directories';
import { Files } from './files';
import { Links } from './links';
import { Operations } from './operations';
import { type MarkRequest, type Privileged, requestName } from './privileged';
import { removeTree } from './remove';
import { MergedRoot } from './merged-root';
import { Specials } from './specials';
import { WhiteoutNames } from './whiteout-names';

/** Says whether a device node other than a whiteout may be made. */
export type AllowDevice = (device: { type: 'char' | 'block'; major: number; minor: number }) => boolean;

export interface UnpackerOptions {
  readonly runner: SyscallRunner;
  readonly reader: ArchiveReader;
  readonly upperFd: number;
  readonly privileged: Privileged;
  readonly allowDevice: AllowDevice;
  readonly onWarning: OnWarning;
  /** See UnpackOptions. */
  readonly merged: boolean;
}

/** Directories that wait for a mark are kept open; more than this are not. */
const MAX_MARKS = 32;

export class Unpacker {
  readonly #ops: Operations;
  readonly #directories: DirectoryTable;
  readonly #attributes: Attributes;
  readonly #files: Files;
  readonly #specials: Specials;
  readonly #links: Links;
  readonly #options: UnpackerOptions;
  readonly #merged: MergedRoot | undefined;
  #marks: { readonly directory: Directory; readonly kind: MarkRequest['kind'] }[] = [];
  readonly #whiteouts = new WhiteoutNames();

  constructor(options: UnpackerOptions) {
    this.#options = options;
    this.#merged = options.merged ? new MergedRoot() : undefined;
    const ops = (this.#ops = new Operations(options.runner));
    const attributes = (this.#attributes = new Attributes(ops, options.onWarning));
    this.#directories = new DirectoryTable(ops, options.upperFd, (fd, acl, place) => attributes.set(fd, acl, place));
    this.#files = new Files(ops, attributes, options.reader);
    this.#specials = new Specials(ops, attributes);
    this.#links = new Links(ops, this.#directories, (directory, base, place) => this.#remove(directory, base, place));
  }

  /** Applies one entry; when it gives a promise, the next one must wait for it. */
  apply(entry: Entry): void | Promise<void> {
    const place: Place = { name: entry.name, offset: entry.offset };
    const { dir, base } = entry.path;
    if (entry.kind === 'directory') return this.#applyDirectory(entry, place);
    if (this.#merged?.isDeletion(entry)) {
      this.#delete(entry, place);
      return undefined;
    }
    this.#merged?.made(entry.path);
    if (entry.kind === 'hardlink') {
      const [own, target] = [entry.path, entry.link!].map((path) => joinPath(path.dir, path.base));
      if (target!.startsWith(`${own}/`))
        throw archiveInvalid(place, 'it is a hard link to something in the directory that it replaces');
      const directory = this.#directories.at(dir, place);
      if (target !== own) this.#makeRoom(directory, base, place);
      this.#links.make(entry.path, entry.link!, place);
      return this.#whiteouts.mayHave(target!) ? this.#mark(this.#directories.at(dir, place), 'whiteouts') : undefined;
    }
    const directory = this.#directories.at(dir, place);
    this.#makeRoom(directory, base, place);
    const kept = entry.xattrs.length === 0 ? entry : { ...entry, xattrs: this.#wanted(entry, place) };
    const makeWay = (): void => this.#remove(directory, base, place);
    if (kept.kind === 'file') return this.#files.make(kept, directory, place, makeWay);
    if (kept.kind === 'symlink') this.#specials.symlink(kept, directory, place, makeWay);
    else if (kept.kind === 'fifo') this.#specials.fifo(kept, directory, place, makeWay);
    else return this.#applyDevice(kept, directory, place, makeWay);
    return undefined;
  }

  /** Makes what waited for the archive's end, and gives all directories their times. */
  async finish(): Promise<void> {
    this.#links.finish();
    await this.#setMarks();
    this.#directories.finish();
  }

  /** Gives up all fds. */
  close(): void {
    this.#attributes.close();
    this.#directories.abandon();
  }

  /**
   * Makes all that was applied so far: what has its name is there then, and the same whoever makes something beside it. Directories that are open
   * keep their times and modes for when they are closed. @returns the fd of the upper
   */
  settle(): number {
    this.#ops.flush();
    return this.#directories.root.fd;
  }

  #applyDirectory(entry: Entry, place: Place): void | Promise<void> {
    const { dir, base } = entry.path;
    const parent = this.#directories.at(dir, place);
    const isReplaced = entry.xattrs.some(isOpaque);
    if (this.#merged) {
      if (isReplaced && base !== '') this.#empty(parent, entry, place);
      this.#merged.made(entry.path);
    }
    let directory = base === '' ? parent : this.#directories.find(joinPath(dir, base));
    directory ??= this.#directories.make(parent, base, place, () => this.#remove(parent, base, place));
    directory.place = place;
    directory.mode = entry.mode;
    directory.mtime = entry.mtime;
    directory.owner = { uid: entry.uid, gid: entry.gid };
    for (const xattr of this.#wanted(entry, place)) {
      if (xattr.name === ACL_ACCESS || xattr.name === ACL_DEFAULT) setAcl(directory, xattr);
      else this.#attributes.set(directory.fd, xattr, place);
    }
    return isReplaced ? this.#mark(directory, 'opaque') : undefined;
  }

  /** Has the host mark a directory, later, with others. */
  #mark(directory: Directory, kind: MarkRequest['kind']): void | Promise<void> {
    // The root is merged with the image's in any case.
    if (kind === 'whiteouts' && directory === this.#directories.root) return undefined;
    if (this.#merged || this.#marks.some((one) => one.directory === directory && one.kind === kind)) return undefined;
    directory.pinned = true;
    this.#marks.push({ directory, kind });
    return this.#marks.length >= MAX_MARKS ? this.#setMarks() : undefined;
  }

  /** A directory of the image that the archive replaces: gone, for the mounted overlay to mark the one that is made then. */
  #empty(parent: Directory, { path }: Entry, place: Place): void {
    if (!this.#merged!.replaces(path, place)) return;
    this.#ops.flush();
    this.#remove(parent, path.base, place);
    this.#forget(joinPath(path.dir, path.base));
  }

  /** Where nothing but the result can be written to, a whiteout is the deletion that it stands for. */
  #delete({ path }: Entry, place: Place): void {
    const directory = this.#directories.at(path.dir, place);
    this.#ops.flush();
    this.#remove(directory, path.base, place);
    this.#forget(joinPath(path.dir, path.base));
  }

  /** Asks for the marks of all directories that wait for one. */
  async #setMarks(): Promise<void> {
    if (this.#marks.length === 0) return;
    this.#ops.flush();
    const marks = this.#marks.splice(0);
    await Promise.all(marks.map(async ({ directory, kind }) => this.#options.privileged({ kind, dirFd: directory.fd }))); // prettier-ignore
    for (const { directory } of marks) directory.pinned = directory === this.#directories.root;
  }

  #applyDevice(entry: Entry, directory: Directory, place: Place, makeWay: () => void): void | Promise<void> {
    const { major, minor } = entry;
    const type = entry.kind === 'char' ? 'char' : 'block';
    if (type === 'char' && major === 0 && minor === 0) {
      this.#specials.whiteout(entry, directory, place, makeWay);
      this.#whiteouts.add(joinPath(entry.path.dir, entry.path.base));
      return this.#mark(directory, 'whiteouts');
    }
    if (!this.#options.allowDevice({ type, major, minor })) {
      throw archiveInvalid(place, `it is the ${type} device ${major}:${minor}, which a container may not bring along`);
    }
    return this.#makeDevice(entry, type, directory, makeWay);
  }

  async #makeDevice(entry: Entry, type: 'char' | 'block', directory: Directory, makeWay: () => void): Promise<void> {
    const { mode, uid, gid, major, minor, mtime } = entry;
    this.#ops.flush();
    makeWay();
    const name = requestName(entry.path.base);
    await this.#options.privileged({
      kind: 'device',
      dirFd: directory.fd,
      name,
      type,
      mode,
      uid,
      gid,
      major,
      minor,
      mtime,
    });
  }

  /** Directories that are open below the name must be closed before something else takes it. */
  #makeRoom(directory: Directory, base: ByteString, place: Place): void {
    if (!directory.branch.below.has(base)) return;
    this.#ops.flush();
    this.#remove(directory, base, place);
    this.#forget(joinPath(directory.path, base));
  }

  /** Removes what has this name, now. */
  #remove(directory: Directory, base: ByteString, place: Place): void {
    removeTree(this.#ops, directory.fd, base, place);
    this.#links.forget(joinPath(directory.path, base));
  }

  /** Closes the directories that were removed; there is nothing to mark in their stead. */
  #forget(path: ByteString): void {
    this.#directories.forget(path);
    this.#marks = this.#marks.filter(({ directory }) => directory.fd >= 0);
  }

  /** The attributes that an unpacker may set. */
  #wanted(entry: Entry, place: Place): readonly Xattr[] {
    if (!entry.xattrs.some(({ name }) => name.startsWith('trusted.'))) return entry.xattrs;
    return entry.xattrs.filter((xattr) => {
      if (!xattr.name.startsWith('trusted.')) return true;
      if (!isOpaque(xattr)) this.#attributes.dropped(xattr.name, place, 'only the host may set trusted attributes');
      return false;
    });
  }
}

function isOpaque({ name, value }: Xattr): boolean {
  return (name as string) === OPAQUE && value.toString('latin1') === 'y';
}

function setAcl(directory: Directory, acl: Xattr): void {
  directory.acls = [...directory.acls.filter(({ name }) => name !== acl.name), acl];
}
