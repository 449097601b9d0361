/** Walks an upper and writes its archive. */
import { setImmediate } from 'node:timers/promises';
import { SiltError } from '../../../errors';
import { type ByteString, printable, toByteString, upToNul } from '../codec/bytes';
import { BLOCK } from '../codec/header';
import { OPAQUE } from '../codec/xattrs';
import type { ArchiveWarning, OnWarning } from '../entry';
import { Batch, type SyscallRunner } from '../io/batch';
import { DT } from '../io/dirents';
import { Contents } from './contents';
import { encodeHeaders, type OutEntry } from './headers';
import type { IdMaps } from './ids';
import { AT_ONCE, type Inspected, Inspector } from './inspector';
import { type Level, Levels } from './levels';
import { type Listing, NameStack, type Side } from './listing';
import { LARGEST_BUFFERED, type Output } from './output';
import { MOST_HEADERS, type PlainFields, PlainHeaders } from './plain-headers';
import { type Metadata, Translator } from './translate';

export interface PackerOptions {
  readonly runner: SyscallRunner;
  readonly upperFd: number;
  readonly shared: SharedSeed | undefined;
  readonly output: Output;
  readonly idMaps: IdMaps | undefined;
  readonly onWarning: OnWarning;
  readonly signal: AbortSignal | undefined;
  /** The process's working directory. */
  readonly here: number;
}

/** The read-only layer that an upper lies on, and that belongs into its archive as if the upper had begun as a copy of it. */
export interface SharedSeed {
  /** The layer's root directory, with ids as the upper has them. Borrowed. */
  readonly fd: number;
  /**
   * Is there something at this path (`a/b`, the root is empty) in the image below the layer? What hides something is left out
   * of the archive where there is nothing to hide.
   */
  readonly isInImage: (path: ByteString) => boolean;
}

const TYPE_OF: ReadonlyMap<number, OutEntry['type']> = new Map([
  [DT.file, '0'],
  [DT.symlink, '2'],
  [DT.char, '3'],
  [DT.block, '4'],
  [DT.fifo, '6'],
]);
/** Longest time without a look at what else there is to do. */
const BREATH_MS = 20;

export class Packer {
  readonly #options: PackerOptions;
  readonly #output: Output;
  readonly #inspector: Inspector;
  readonly #contents: Contents;
  readonly #translator: Translator;
  readonly #batch: Batch;
  readonly #levels: Levels;
  readonly #names = new NameStack();
  /** First names of files that have more names to come. */
  readonly #links = new Map<string, { readonly name: ByteString; left: number }>();
  #firstWhiteout: OutEntry | undefined;
  #breath = performance.now();
  #entries = 0;
  readonly #headers = new PlainHeaders();
  readonly #types = new Uint8Array(AT_ONCE);
  readonly #fields: PlainFields = { type: 0, mode: 0, uid: 0, gid: 0, size: 0, seconds: 0, nanoseconds: 0 };

  constructor(options: PackerOptions) {
    this.#options = options;
    this.#output = options.output;
    this.#inspector = new Inspector(options.runner, options.here);
    this.#contents = new Contents(options.runner, options.output);
    this.#translator = new Translator(options.idMaps, options.onWarning);
    this.#batch = new Batch(options.runner, { imageSize: 128 << 10, maxCalls: 8 });
    this.#levels = new Levels(options.runner);
  }

  get entries(): number {
    return this.#entries;
  }

  async run(): Promise<void> {
    try {
      this.#enterRoot();
      for (let level = this.#levels.top; level; level = this.#levels.top) {
        await this.#breathe();
        if (level.next < level.listing.length) await this.#step(level);
        else if (!this.#levels.leave())
          this.#changed(level.name, 'it was moved while it was read; the rest of what contains it is left out');
      }
      this.#output.flush();
    } finally {
      this.#levels.closeAll();
      this.#output.abandon();
    }
  }

  #enterRoot(): void {
    const name = './' as ByteString;
    const open = (fd: number): Inspected => {
      const root = this.#inspector.inspectRoot(fd);
      if (root.errno !== undefined) throw readFailure(name, root.errno);
      return root;
    };
    const root = open(this.#options.upperFd);
    this.#enter(name, root, this.#options.shared && open(this.#options.shared.fd), false);
  }

  /** The next entries of a directory: one directory, or a number of other things of one side. */
  async #step(level: Level): Promise<void> {
    const { listing } = level;
    const first = level.next;
    const side = listing.side(first);
    const directory = (side === 'under' ? level.under! : level.over).fd;
    let count = 0;
    while (level.next < listing.length && count < AT_ONCE && listing.side(level.next) === side) {
      const type = listing.type(level.next) || this.#inspector.typeOf(directory, listing.name(level.next));
      if (type === DT.directory && count > 0) break;
      level.next++;
      this.#types[count++] = type;
      if (type === DT.directory) break;
    }
    this.#inspector.inspect(directory, listing, first, this.#types, count);
    if (this.#types[0] === DT.directory) {
      this.#directory(level, this.#inspector.found(0), side);
      return;
    }
    try {
      this.#headers.enter(level.name);
      for (let i = 0; i < count; i++) {
        if (this.#plainFile(level, i)) continue;
        const later = this.#emit(level, i, side);
        if (later) await later;
      }
    } finally {
      this.#inspector.closeAll();
    }
  }

  /** Writes a file like most, without making an object for it. @returns false when it is another kind of entry. */
  #plainFile(level: Level, i: number): boolean {
    const fields = this.#fields;
    const fd = this.#inspector.takePlain(i, LARGEST_BUFFERED, fields);
    if (fd < 0) return false;
    const nameAt = this.#inspector.nameAt(i);
    const nameLength = this.#inspector.nameLength(i);
    const { image } = this.#inspector;
    const name = (): ByteString => (level.name + image.toString('latin1', nameAt, nameAt + nameLength)) as ByteString;
    this.#translator.own(fields, name);
    const at = this.#output.room(MOST_HEADERS + fields.size);
    const written = this.#headers.write(this.#output.bytes, at, image, nameAt, nameLength, fields);
    if (written > 0) {
      this.#output.took(written);
      this.#entries++;
      this.#contents.read(fd, fields.size, this.#plainShort);
    } else {
      const { mode, uid, gid, size: stored, seconds, nanoseconds } = fields;
      const full = name();
      this.#write({ name: full, type: '0', mode: mode & 0o7777, uid, gid, stored, mtime: { seconds, nanoseconds } });
      this.#contents.read(fd, stored, (missing) => this.#short(full, missing));
    }
    return true;
  }

  /** A plain file's name stands in its header, in front of its contents. */
  readonly #plainShort = (missing: number, image: Buffer, at: number): void => {
    this.#short(toByteString(upToNul(image.subarray(at - BLOCK, at))), missing);
  };

  #short(name: ByteString, missing: number): void {
    this.#changed(name, `it shrank by ${missing} bytes while it was read; zeros are written for them`);
  }

  #directory(level: Level, found: Inspected, side: Side): void {
    const name = `${level.name}${found.name}/` as ByteString;
    if (!this.#isThere(name, found)) return;
    if (side === 'under' || !level.under) {
      this.#enter(name, found, undefined, level.opaque || isOpaque(found));
      return;
    }
    if (isOpaque(found)) {
      // The overlay marks every new directory in one that a lower layer has. A copy would have had the mark for the image only.
      const marked = !level.opaque && this.#options.shared!.isInImage(pathOf(level.name));
      const kept = marked ? found : { ...found, xattrs: found.xattrs.filter(({ name: key }) => key !== (OPAQUE as ByteString)) }; // prettier-ignore
      this.#enter(name, kept, undefined, true);
      return;
    }
    const under = side === 'both' ? this.#below(level.under.fd, found.name) : undefined;
    const mark = under?.xattrs.filter(({ name: key }) => key === (OPAQUE as ByteString)) ?? [];
    this.#enter(name, { ...found, xattrs: [...found.xattrs, ...mark] }, under, level.opaque || mark.length > 0);
  }

  /** The directory of this name in the shared layer, if it is one there. */
  #below(fd: number, name: ByteString): Inspected | undefined {
    const found = this.#inspector.inspectOne(fd, name, DT.directory);
    return found.errno === undefined ? found : undefined;
  }

  /** Writes a directory's entry and makes it the one that is read; the fds are closed when it has been read. */
  #enter(name: ByteString, found: Inspected, under: Inspected | undefined, opaque: boolean): void {
    try {
      this.#write({ name, type: '5', ...this.#translator.metadata(name, found) });
      const over = this.#list(name, found);
      const listing = under ? this.#names.merge(over, this.#list(name, under)) : over;
      this.#levels.enter({ name, over: { fd: found.fd }, under: under && { fd: under.fd }, opaque, listing });
    } catch (error) {
      this.#inspector.close([found.fd, under?.fd ?? -1]);
      throw error;
    }
  }

  #list(name: ByteString, { fd }: Inspected): Listing {
    const listing = this.#names.read(this.#batch, fd);
    if (typeof listing === 'string') throw readFailure(name, listing);
    return listing;
  }

  #emit(level: Level, i: number, side: Side): void | Promise<void> {
    const found = this.#inspector.found(i);
    const name = `${level.name}${found.name}` as ByteString;
    if (found.type === DT.socket) {
      this.#warn('socket-skipped', name, 'an archive cannot hold a socket; it is left out');
      return undefined;
    }
    if (!this.#isThere(name, found)) return undefined;
    const type = TYPE_OF.get(found.stat.mode >> 12);
    if (type === undefined || found.stat.mode >> 12 !== found.type) {
      this.#changed(name, 'it became something else while it was read; it is left out');
      return undefined;
    }
    if (type === '3' && found.stat.major === 0 && found.stat.minor === 0) {
      if (side !== 'both' || this.#hidesImage(level, name)) this.#whiteout(name, found);
      return undefined;
    }
    const metadata = this.#translator.metadata(name, found);
    const first = this.#firstName(name, found);
    if (first === undefined && type === '0') return this.#file(name, found, metadata, i);
    // As in gVisor's archives, the attributes of a file stand at its first name only.
    if (first !== undefined) this.#write({ name, type: '1', linkname: first, ...metadata, xattrs: [] });
    else if (type === '2') this.#write({ name, type, linkname: found.target!, ...metadata });
    else this.#write({ name, type, major: found.stat.major, minor: found.stat.minor, ...metadata });
    return undefined;
  }

  /** Has the image something that a deletion of what the shared layer had must go on hiding? */
  #hidesImage(level: Level, name: ByteString): boolean {
    return !level.opaque && this.#options.shared!.isInImage(pathOf(name));
  }

  #file(name: ByteString, found: Inspected, metadata: Metadata, i: number): void | Promise<void> {
    const layout = this.#contents.layout(found);
    const { stored, map } = layout;
    this.#write({ name, type: '0', ...metadata, stored, ...(map && { realSize: found.stat.size }) });
    const onShort = (missing: number): void => this.#short(name, missing);
    if (map || (stored > LARGEST_BUFFERED && !this.#output.sends(stored)))
      return this.#contents.write(found, layout, onShort);
    this.#inspector.take(i);
    if (stored > LARGEST_BUFFERED) this.#contents.send(found.fd, stored, onShort);
    else this.#contents.read(found.fd, stored, onShort);
    return undefined;
  }

  /**
   * The first whiteout is a device, every other one a link to it, whether they are one file in the upper or not. So the links have
   * the first one's time as well.
   */
  #whiteout(name: ByteString, found: Inspected): void {
    if (this.#firstWhiteout) {
      this.#write({ ...this.#firstWhiteout, name, type: '1', linkname: this.#firstWhiteout.name });
      return;
    }
    // The overlay makes whiteouts as whoever mounted it, host root, who is nobody in a pod's user namespace: the owner of a mark
    // that says "deleted" means nothing, and is always root.
    this.#firstWhiteout = { name, type: '3', mode: 0, uid: 0, gid: 0, mtime: found.stat.mtime, xattrs: [] };
    this.#write(this.#firstWhiteout);
  }

  /** The name under which a file was written before. Forgotten once all its names have come. */
  #firstName(name: ByteString, { key, stat }: Inspected): ByteString | undefined {
    if (key === undefined) return undefined;
    const known = this.#links.get(key);
    if (!known) {
      this.#links.set(key, { name, left: stat.nlink - 1 });
      return undefined;
    }
    known.left--;
    if (known.left === 0) this.#links.delete(key);
    return known.name;
  }

  #write(entry: OutEntry): void {
    this.#output.write(encodeHeaders(entry));
    this.#entries++;
  }

  /** In a container that runs on, files come and go. @throws SiltError when it is something else. */
  #isThere(name: ByteString, { errno }: Inspected): boolean {
    if (errno === undefined) return true;
    if (errno === 'EXDEV') {
      this.#warn('mount-skipped', name, 'something is mounted there; it is left out');
      return false;
    }
    if (errno !== 'ENOENT' && errno !== 'ELOOP' && errno !== 'ENOTDIR' && errno !== 'ENXIO')
      throw readFailure(name, errno);
    this.#changed(name, 'it went away while it was read; it is left out');
    return false;
  }

  #changed(name: ByteString, message: string): void {
    this.#warn('changed', name, message);
  }

  #warn(kind: ArchiveWarning['kind'], name: ByteString, message: string): void {
    const shown = printable(name);
    this.#options.onWarning(`${shown}: ${message}`, { kind, name: shown });
  }

  async #breathe(): Promise<void> {
    if (performance.now() - this.#breath < BREATH_MS) return;
    await setImmediate();
    this.#options.signal?.throwIfAborted();
    this.#breath = performance.now();
  }
}

function isOpaque({ xattrs }: Inspected): boolean {
  return xattrs.some(({ name, value }) => (name as string) === OPAQUE && value.toString('latin1') === 'y');
}

/** `a/b` of `./a/b/`. */
function pathOf(name: ByteString): ByteString {
  return name.slice(2).replace(/\/$/, '') as ByteString;
}

function readFailure(name: ByteString, errno: string): SiltError {
  const path = printable(name);
  return new SiltError('SYSCALL_FAILED', `reading "${path}" for the archive: ${errno}`, { path, errno });
}
