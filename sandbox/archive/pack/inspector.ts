/** Looks at many files with one syscall program: what they are, their attributes, and the contents of the small ones. */
import { C, errnoName } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { type Xattr, splitNames } from '../codec/xattrs';
import { type Arg, Batch, slotOf, type SyscallRunner } from '../io/batch';
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
  pread,
  readlinkat,
  readStatx,
  type Stat,
  statx,
} from '../io/calls';
import { DT } from '../io/dirents';

/** How many files are looked at together: each takes up to four of a program's 256 slots. */
export const AT_ONCE = 60;
/** Contents up to this size are read along. */
export const HEAD = 16 << 10;
const NAMES = 512;
const LONGEST_TARGET = 4096;
const VALUE = 1024;
const LARGEST = 65536;
const NO_XATTRS: readonly Xattr[] = [];

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
  /** Where in {@link Inspector.image} the first bytes of a regular file are, until the next inspection. */
  readonly headAt: number;
  readonly headLength: number;
  /** What a symbolic link contains. */
  readonly target: ByteString | undefined;
  readonly xattrs: readonly Xattr[];
}

interface Probe {
  readonly name: ByteString;
  readonly type: number;
  readonly nameAt: number;
  readonly fd: number;
  readonly statAt: number;
  readonly stated: number;
  readonly names: number;
  readonly namesAt: number;
  readonly read: number;
  readonly readAt: number;
}

export class Inspector {
  readonly #batch: Batch;
  readonly #values: Batch;
  readonly #here: number;
  readonly #openFile: number;
  readonly #openDirectory: number;

  /** `here` is the process's working directory: what cannot be opened is looked at from within its own. */
  constructor(runner: SyscallRunner, here: number) {
    this.#here = here;
    this.#batch = new Batch(runner, { imageSize: 1280 << 10, maxCalls: 512 });
    this.#values = new Batch(runner, { imageSize: 1 << 20, maxCalls: 512 });
    // Without O_NONBLOCK a file that became a fifo would hang the opening.
    this.#openFile = allocHow(this.#batch, C.O_RDONLY | C.O_NONBLOCK | C.O_NOCTTY, 0, C.RESOLVE_NO_XDEV);
    this.#openDirectory = allocHow(this.#batch, C.O_RDONLY | C.O_DIRECTORY, 0, C.RESOLVE_NO_XDEV);
    this.#batch.keep();
  }

  /** What the last inspection has read. */
  get image(): Buffer {
    return this.#batch.image;
  }

  /** Looks at up to {@link AT_ONCE} names of a directory; files and directories are left open. */
  inspect(dir: number, list: readonly { readonly name: ByteString; readonly type: number }[]): Inspected[] {
    const batch = this.#batch;
    batch.clear();
    const probes = list.map(({ name, type }) => this.#probe(dir, name, type));
    this.#run(batch);
    const inspected = probes.map((probe) => this.#result(probe));
    return this.#withXattrs(dir, probes, inspected);
  }

  /** Only what it is: for names whose type the filesystem's listing does not tell. @returns DT_*; unknown when it is gone. */
  typeOf(dir: number, name: ByteString): number {
    const batch = this.#batch;
    batch.clear();
    const at = allocStatx(batch);
    const result = batch.newSlot();
    statx(batch, result, dir, batch.string(name), at);
    batch.tolerateAll();
    this.#run(batch);
    // DT_* are the type bits of a mode, moved down.
    return failed(batch.slot(result)) ? DT.unknown : readStatx(batch.image, at).mode >> 12;
  }

  /** The directory itself, by its own fd, which stays the caller's. */
  inspectRoot(fd: number): Inspected {
    const batch = this.#batch;
    batch.clear();
    const probe = this.#begin('.' as ByteString, DT.directory, batch.newSlot());
    openat2(batch, probe.fd, fd, probe.nameAt, this.#openDirectory);
    this.#look(probe, slotOf(probe.fd));
    this.#run(batch);
    return this.#withXattrs(fd, [probe], [this.#result(probe)])[0]!;
  }

  closeAll(list: readonly { readonly fd: number }[]): void {
    this.#values.clear();
    for (const { fd } of list) if (fd >= 0) close(this.#values, fd);
    this.#values.run();
  }

  #run(batch: Batch): void {
    const failure = batch.run();
    if (failure) throw new Error(`${failure.step}: ${failure.errno}`);
  }

  #begin(name: ByteString, type: number, fd: number): Probe {
    const batch = this.#batch;
    const file = type === DT.file;
    const probe = { name, type, fd, nameAt: batch.string(name), statAt: allocStatx(batch), namesAt: batch.space(NAMES), stated: batch.newSlot(), names: batch.newSlot() }; // prettier-ignore
    const size = file ? HEAD : type === DT.symlink ? LONGEST_TARGET : 0;
    return { ...probe, read: size > 0 ? batch.newSlot() : -1, readAt: batch.space(size) };
  }

  #probe(dir: number, name: ByteString, type: number): Probe {
    const batch = this.#batch;
    const opens = type === DT.file || type === DT.directory;
    const probe = this.#begin(name, type, opens ? batch.newSlot() : -1);
    if (opens) {
      openat2(batch, probe.fd, dir, probe.nameAt, type === DT.file ? this.#openFile : this.#openDirectory);
      batch.tolerateAll();
      this.#look(probe, slotOf(probe.fd));
      return probe;
    }
    statx(batch, probe.stated, dir, probe.nameAt, probe.statAt);
    batch.tolerateAll();
    if (type === DT.symlink) {
      readlinkat(batch, probe.read, dir, probe.nameAt, probe.readAt, LONGEST_TARGET);
      batch.tolerateAll();
    }
    this.#inDirectory(batch, dir, () => llistxattr(batch, probe.names, probe.nameAt, probe.namesAt, NAMES));
    return probe;
  }

  /** The calls for an open file. */
  #look(probe: Probe, fd: Arg): void {
    const batch = this.#batch;
    statx(batch, probe.stated, fd, batch.string(''), probe.statAt);
    batch.tolerateAll();
    flistxattr(batch, probe.names, fd, probe.namesAt, NAMES);
    batch.tolerateAll();
    if (probe.read < 0) return;
    pread(batch, probe.read, fd, probe.readAt, HEAD, 0);
    batch.tolerateAll();
  }

  /** A call with a path from within the directory; nothing else of this process runs before it is back. */
  #inDirectory(batch: Batch, dir: number, call: () => number): void {
    fchdir(batch, dir);
    call();
    batch.tolerateAll();
    fchdir(batch, this.#here);
  }

  #result({ name, type, fd, stated, statAt, read, readAt }: Probe): Inspected {
    const batch = this.#batch;
    const opened = fd < 0 ? -1 : batch.slot(fd);
    const problem = [opened, batch.slot(stated), type === DT.symlink ? batch.slot(read) : 0].find(
      (value, i) => failed(value) && (i > 0 || fd >= 0),
    );
    const stat = readStatx(batch.image, statAt);
    const length = read < 0 ? 0 : batch.slot(read);
    // Written out: one object for each file, of one shape.
    return {
      name,
      type,
      errno: problem === undefined ? undefined : errnoName(problem),
      stat,
      key: problem === undefined && stat.nlink > 1 ? fileKey(batch.image, statAt) : undefined,
      fd: opened >= 0 ? opened : -1,
      headAt: readAt,
      headLength: type === DT.file && length > 0 ? length : 0,
      target:
        type === DT.symlink && problem === undefined
          ? (batch.image.toString('latin1', readAt, readAt + length) as ByteString)
          : undefined,
      xattrs: NO_XATTRS,
    };
  }

  #withXattrs(dir: number, probes: readonly Probe[], inspected: Inspected[]): Inspected[] {
    return inspected.map((found, i) => {
      const probe = probes[i]!;
      const length = this.#batch.slot(probe.names);
      if (found.errno !== undefined || length === 0) return found;
      // A filesystem without extended attributes says EOPNOTSUPP.
      if (failed(length) && errnoName(length) !== 'ERANGE') return found;
      const names = failed(length)
        ? this.#allNames(dir, found)
        : splitNames(this.#batch.image.subarray(probe.namesAt, probe.namesAt + length));
      return { ...found, xattrs: this.#readValues(dir, found, names) };
    });
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
    return splitNames(batch.image.subarray(at, at + Math.max(batch.slot(result), 0)));
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
