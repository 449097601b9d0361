/** Looks at many files with one syscall program: what they are, and their attributes. */
import { C, errnoName } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { ACL_ACCESS, ACL_DEFAULT, CAPABILITY, OPAQUE, type Xattr, splitNames } from '../codec/xattrs';
import { Batch, slotOf, type SyscallRunner } from '../io/batch';
import {
  allocHow,
  allocStatx,
  close,
  failed,
  fchdir,
  fgetxattr,
  fileKey,
  flistxattr,
  lgetxattr,
  llistxattr,
  openat2,
  readlinkat,
  readStatx,
  type Stat,
  statx,
} from '../io/calls';
import { DT } from '../io/dirents';
import type { Names as AllNames } from './listing';

/** The names that an inspection takes a part of. */
type Names = Pick<AllNames, 'copyName'>;

/** How many files are looked at together: each takes up to three of a program's 256 slots. */
export const AT_ONCE = 80;
const NAMES = 512;
const LONGEST_TARGET = 4096;
const VALUE = 1024;
const LARGEST = 65536;
/** In place of a type: the fd is somebody else's. */
const TAKEN = 0xff;
const NO_XATTRS: readonly Xattr[] = [];
const MEANT = [OPAQUE, CAPABILITY, ACL_ACCESS, ACL_DEFAULT] as ByteString[];

export interface Inspected {
  readonly name: ByteString;
  readonly type: number;
  /** Why it cannot be looked at; then nothing else is known. */
  readonly errno: string | undefined;
  readonly stat: Stat;
  /** Equal for names of one file; only of files with several. */
  readonly key: string | undefined;
  /** A regular file or a directory, open; -1 for everything else. */
  readonly fd: number;
  /** What a symbolic link contains. */
  readonly target: ByteString | undefined;
  readonly xattrs: readonly Xattr[];
}

/** What stands in the image for each name, always at the same place: the name, struct statx, the names of its attributes. */
const NAME_ROOM = 264;
const STATX_ROOM = 256;
const FRAME = NAME_ROOM + STATX_ROOM + NAMES;
/** Results: of opening it or reading the link, of statx, of listing its attributes. */
const RESULTS = 3;
/** How files are opened. Without O_NONBLOCK one that became a fifo would hang the opening. */
const FILE = C.O_RDONLY | C.O_NONBLOCK | C.O_NOCTTY;
const DIRECTORY = C.O_RDONLY | C.O_DIRECTORY;
export class Inspector {
  readonly #batch: Batch;
  readonly #values: Batch;
  readonly #here: number;
  readonly #openFile: number;
  readonly #openDirectory: number;
  /** An empty path: the open file itself. */
  readonly #itself: number;
  /** Where the first name's {@link FRAME} is. */
  readonly #frames: number;
  readonly #types = new Uint8Array(AT_ONCE);
  readonly #lengths = new Uint8Array(AT_ONCE);
  readonly #targets = new Uint32Array(AT_ONCE);
  #dir = -1;
  #count = 0;

  /** `here` is the process's working directory: what cannot be opened is looked at from within its own. */
  constructor(runner: SyscallRunner, here: number) {
    this.#here = here;
    this.#batch = new Batch(runner, { imageSize: 512 << 10, maxCalls: 512 });
    this.#values = new Batch(runner, { imageSize: 1 << 20, maxCalls: 512 });
    this.#openFile = allocHow(this.#batch, FILE, 0, C.RESOLVE_NO_XDEV);
    this.#openDirectory = allocHow(this.#batch, DIRECTORY, 0, C.RESOLVE_NO_XDEV);
    this.#itself = this.#batch.string('');
    this.#frames = this.#batch.space(FRAME * AT_ONCE);
    for (let i = 0; i < RESULTS * AT_ONCE; i++) this.#batch.newSlot();
    this.#batch.keep();
  }

  /**
   * Looks at up to {@link AT_ONCE} names of a directory; files and directories are left open. `types` has DT_* of each. What was found
   * is asked for name by name, until the next inspection, and {@link closeAll} closes what nobody has taken.
   */
  inspect(dir: number, names: Names, first: number, types: Uint8Array, count: number): void {
    const batch = this.#batch;
    batch.clear();
    this.#dir = dir;
    this.#count = count;
    for (let i = 0; i < count; i++) {
      this.#types[i] = types[i]!;
      this.#lengths[i] = names.copyName(first + i, batch.image, this.#nameAt(i));
    }
    for (let i = 0; i < count; i++) this.#probe(i, types[i]!);
    this.#run(batch);
  }

  /** {@link inspect} of one name. */
  inspectOne(dir: number, name: ByteString, type: number): Inspected {
    const copyName = (_: number, into: Uint8Array, at: number): number => {
      for (let i = 0; i < name.length; i++) into[at + i] = name.charCodeAt(i);
      into[at + name.length] = 0;
      return name.length;
    };
    this.inspect(dir, { copyName }, 0, Uint8Array.of(type), 1);
    return this.found(0);
  }

  /** Only what it is: for names whose type the filesystem's listing does not tell. @returns DT_*; unknown when it is gone. */
  typeOf(dir: number, name: ByteString): number {
    const batch = this.#values;
    batch.clear();
    const at = allocStatx(batch);
    const result = batch.newSlot();
    statx(batch, result, dir, batch.string(name), at);
    batch.tolerateAll();
    this.#run(batch);
    // DT_* are the type bits of a mode, moved down.
    return failed(batch.slot(result)) ? DT.unknown : readStatx(batch.image, at).mode >> 12;
  }

  /** Is what the last inspection could not look at still of its type, and still not to be opened? */
  isStill({ name, type }: Inspected): boolean {
    if (this.typeOf(this.#dir, name) !== type) return false;
    if (type !== DT.file && type !== DT.directory) return true;
    const batch = this.#values;
    batch.clear();
    const result = batch.newSlot();
    const how = allocHow(batch, type === DT.directory ? DIRECTORY : FILE, 0, C.RESOLVE_NO_XDEV);
    openat2(batch, result, this.#dir, batch.string(name), how);
    batch.tolerateAll();
    close(batch, slotOf(result));
    this.#run(batch);
    return failed(batch.slot(result));
  }

  /** The directory itself, by its own fd, which stays the caller's. */
  inspectRoot(fd: number): Inspected {
    return this.inspectOne(fd, '.' as ByteString, DT.directory);
  }

  /** Closes what the last inspection has opened, without what was taken. */
  closeAll(): void {
    this.#values.clear();
    for (let i = 0; i < this.#count; i++) {
      const fd = this.#fd(i);
      if (fd >= 0) close(this.#values, fd);
    }
    this.#values.run();
    this.#count = 0;
  }

  close(fds: readonly number[]): void {
    this.#values.clear();
    for (const fd of fds) if (fd >= 0) close(this.#values, fd);
    this.#values.run();
  }

  /** The fd is the caller's to close. */
  take(i: number): void {
    this.#types[i] = TAKEN;
  }

  #nameAt(i: number): number {
    return this.#frames + i * FRAME;
  }

  #fd(i: number): number {
    const opens = this.#types[i] === DT.file || this.#types[i] === DT.directory;
    return opens ? Math.max(this.#batch.slot(RESULTS * i), -1) : -1;
  }

  #run(batch: Batch): void {
    const failure = batch.run();
    if (failure) throw new Error(`${failure.step}: ${failure.errno}`);
  }

  #probe(i: number, type: number): void {
    const batch = this.#batch;
    const dir = this.#dir;
    const name = this.#nameAt(i);
    const stat = name + NAME_ROOM;
    const result = RESULTS * i;
    if (type === DT.file || type === DT.directory) {
      openat2(batch, result, dir, name, type === DT.file ? this.#openFile : this.#openDirectory);
      batch.tolerateAll();
      statx(batch, result + 1, slotOf(result), this.#itself, stat);
      batch.tolerateAll();
      flistxattr(batch, result + 2, slotOf(result), stat + STATX_ROOM, NAMES);
      batch.tolerateAll();
      return;
    }
    statx(batch, result + 1, dir, name, stat);
    batch.tolerateAll();
    if (type === DT.symlink) {
      this.#targets[i] = batch.space(LONGEST_TARGET);
      readlinkat(batch, result, dir, name, this.#targets[i], LONGEST_TARGET);
      batch.tolerateAll();
    }
    this.#inDirectory(batch, dir, () => llistxattr(batch, result + 2, name, stat + STATX_ROOM, NAMES));
  }

  /** A call with a path from within the directory; nothing else of this process runs before it is back. */
  #inDirectory(batch: Batch, dir: number, call: () => number): void {
    fchdir(batch, dir);
    call();
    batch.tolerateAll();
    fchdir(batch, this.#here);
  }

  /** What the last inspection has found. */
  found(i: number): Inspected {
    const batch = this.#batch;
    const type = this.#types[i]!;
    const nameAt = this.#nameAt(i);
    const statAt = nameAt + NAME_ROOM;
    const name = batch.image.toString('latin1', nameAt, nameAt + this.#lengths[i]!) as ByteString;
    const results = [RESULTS * i, RESULTS * i + 1].map((slot) => batch.slot(slot));
    const opens = type === DT.file || type === DT.directory || type === DT.symlink;
    const problem = results.find((value, k) => failed(value) && (k > 0 || opens));
    const stat = readStatx(batch.image, statAt);
    const targetAt = this.#targets[i]!;
    const found: Inspected = {
      name,
      type,
      errno: problem === undefined ? undefined : errnoName(problem),
      stat,
      key: problem === undefined && stat.nlink > 1 ? fileKey(batch.image, statAt) : undefined,
      fd: this.#fd(i),
      target:
        type === DT.symlink && problem === undefined
          ? (batch.image.toString('latin1', targetAt, targetAt + results[0]!) as ByteString)
          : undefined,
      xattrs: NO_XATTRS,
    };
    return this.#withXattrs(found, batch.slot(RESULTS * i + 2), statAt + STATX_ROOM);
  }

  #withXattrs(found: Inspected, length: number, at: number): Inspected {
    if (found.errno !== undefined || length === 0) return found;
    // A filesystem without extended attributes says EOPNOTSUPP.
    if (failed(length) && errnoName(length) !== 'ERANGE') return found;
    const names = failed(length)
      ? this.#allNames(this.#dir, found)
      : splitNames(this.#batch.image.subarray(at, at + length));
    return { ...found, xattrs: this.#readValues(this.#dir, found, names) };
  }

  #allNames(dir: number, { fd, name }: Inspected): ByteString[] {
    const batch = this.#values;
    batch.clear();
    const at = batch.space(LARGEST);
    const result = batch.newSlot();
    if (fd >= 0) flistxattr(batch, result, fd, at, LARGEST);
    else this.#inDirectory(batch, dir, () => llistxattr(batch, result, batch.string(name), at, LARGEST));
    if (fd >= 0) batch.tolerateAll();
    this.#run(batch);
    const length = batch.slot(result);
    // E2BIG: more names than flistxattr(2) tells of. What the root filesystem's meaning hangs on is asked for by name.
    return failed(length) ? [...MEANT] : splitNames(batch.image.subarray(at, at + length));
  }

  #readValues(dir: number, found: Inspected, names: readonly ByteString[]): Xattr[] {
    const xattrs: Xattr[] = [];
    for (let from = 0; from < names.length; from += AT_ONCE) {
      xattrs.push(...this.#readSome(dir, found, names.slice(from, from + AT_ONCE), VALUE));
    }
    return xattrs;
  }

  /** The values of a few attributes, each first with little room for it, then with all that there can be. */
  #readSome(dir: number, found: Inspected, names: readonly ByteString[], room: number): Xattr[] {
    const batch = this.#values;
    batch.clear();
    const reads = names.map((name) => {
      const result = batch.newSlot();
      const at = batch.space(room);
      if (found.fd >= 0) {
        fgetxattr(batch, result, found.fd, batch.string(name), at, room);
        batch.tolerateAll();
      } else {
        this.#inDirectory(batch, dir, () =>
          lgetxattr(batch, result, batch.string(found.name), batch.string(name), at, room),
        );
      }
      return { name, at, result };
    });
    this.#run(batch);
    const results = reads.map(({ name, at, result }) => {
      const length = batch.slot(result);
      const value = failed(length) ? undefined : Buffer.from(batch.image.subarray(at, at + length));
      return { name, value, larger: failed(length) && errnoName(length) === 'ERANGE' };
    });
    return results.flatMap(({ name, value, larger }) => {
      if (value) return [{ name, value }];
      // ENODATA: it went while the container ran on.
      return larger && room < LARGEST ? this.#readSome(dir, found, [name], LARGEST) : [];
    });
  }
}
