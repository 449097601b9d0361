/** Walks an upper and writes its archive. */
import { SiltError } from '../../../errors';
import { type ByteString, printable } from '../codec/bytes';
import { MAX_COMPONENT, MAX_NAME } from '../codec/names';
import { OPAQUE } from '../codec/xattrs';
import type { ArchiveWarning, OnWarning } from '../entry';
import { letOthersRun, milliseconds } from '../io/breath';
import { DT } from '../io/dirents';
import { DEFAULT_LIMITS } from '../limits';
import { Contents } from './contents';
import { encodeHeaders, type OutEntry } from './headers';
import type { IdMaps } from './ids';
import { AT_ONCE, type Inspected, Inspector } from './inspector';
import { type Level, Levels } from './levels';
import { type Listing, type NamesReader, NameStack, type Side } from './listing';
import { LARGEST_BUFFERED, type Output, type OutputRunner } from './output';
import { PlainHeaders, type PlainRunner, PlainWalk } from './plain-walk';
import { type Metadata, Translator } from './translate';

/** What is needed of the native addon. */
export type PackRunner = OutputRunner & PlainRunner & NamesReader;

export interface PackerOptions {
  readonly runner: PackRunner;
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
/** Of two directories, one laid over the other, so many names are looked through for those of one side. */
const NAMES_AT_ONCE = 1024;
/** What opening a name says of one that is gone, or became a link or a socket. */
const GONE: readonly string[] = ['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'];
/** Longest time without a look at what else there is to do. */
const BREATH_MS = 20;

export class Packer {
  readonly #options: PackerOptions;
  readonly #output: Output;
  readonly #inspector: Inspector;
  readonly #contents: Contents;
  readonly #translator: Translator;
  readonly #levels: Levels;
  readonly #names: NameStack;
  /** First names of files that have more names to come. */
  readonly #links = new Map<string, { readonly name: ByteString; left: number }>();
  #firstWhiteout: OutEntry | undefined;
  #breath = milliseconds();
  #entries = 0;
  readonly #headers: PlainHeaders;
  readonly #walk: PlainWalk;
  /** The next name is one of which the walk has said that it is not like most. */
  #isOther = false;
  /** How many names to look at together: the more of them follow each other that are not like most. */
  #atOnce = 1;
  readonly #types = new Uint8Array(AT_ONCE);

  constructor(options: PackerOptions) {
    this.#options = options;
    this.#output = options.output;
    this.#inspector = new Inspector(options.runner, options.here);
    this.#contents = new Contents(options.runner, options.output);
    this.#translator = new Translator(options.idMaps, options.onWarning);
    this.#levels = new Levels(options.runner);
    this.#names = new NameStack(options.runner);
    this.#headers = new PlainHeaders(options.runner);
    this.#walk = new PlainWalk(options.runner, options.output, this.#names, options.idMaps, (name, missing) =>
      this.#short(name, missing),
    );
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
      this.#walk.close();
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

  /** The next entries: of a tree of what is like most, one directory, or a number of other things of one side. */
  async #step(level: Level): Promise<void> {
    const { listing } = level;
    const first = level.next;
    const side = listing.side(first);
    const directory = (side === 'under' ? level.under! : level.over).fd;
    if (!this.#walk.isUnderWay && !this.#isOther)
      this.#walk.begin(directory, level.name, listing.stackIndex(first), this.#plainFrom(level, side));
    this.#isOther = false;
    if (this.#walk.isUnderWay) {
      this.#goOn(level);
      return;
    }
    let count = 0;
    while (level.next < listing.length && count < this.#atOnce && listing.side(level.next) === side) {
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
    this.#atOnce = Math.min(2 * this.#atOnce, AT_ONCE);
    try {
      for (let i = 0; i < count; i++) {
        const later = this.#emit(level, i, side);
        if (later) await later;
      }
    } finally {
      this.#inspector.closeAll();
    }
  }

  /** Has the addon write entries that are like most, in this directory and below it. */
  #goOn(level: Level): void {
    const entries = this.#walk.goOn();
    this.#entries += entries;
    if (entries > 0) this.#atOnce = 1;
    if (this.#walk.isUnderWay) return;
    level.next += this.#walk.passed;
    this.#walk.handOver(({ fd, next, ...entered }) =>
      this.#levels.enter({ ...entered, over: { fd }, under: undefined, opaque: level.opaque }, next),
    );
    this.#isOther = this.#walk.isAtOther;
  }

  /** How many names, from the next one on, are of one side and may be like most. A directory is not that has both sides. */
  #plainFrom({ listing, next: first, under }: Level, side: Side): number {
    if (!under) return listing.length - first;
    const end = Math.min(listing.length, first + NAMES_AT_ONCE);
    let next = first;
    while (next < end && listing.side(next) === side && (side === 'under' || isFileOrLink(listing.type(next)))) next++;
    return next - first;
  }

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
    } catch (error) {
      this.#inspector.close([found.fd, under?.fd ?? -1]);
      throw error;
    }
    this.#read(name, found, under, opaque);
  }

  /** Makes a directory the one that is read, whose entry has been written. */
  #read(name: ByteString, over: { fd: number }, under: { fd: number } | undefined, opaque: boolean): void {
    try {
      const names = this.#list(name, over);
      const listing = under ? this.#names.merge(names, this.#list(name, under)) : names;
      const above = this.#levels.top?.name.length ?? 0;
      this.#levels.enter({ name, over: { fd: over.fd }, under: under && { fd: under.fd }, opaque, listing });
      if (listing.length > 0) this.#warnWhereTooDeep(name, above);
    } catch (error) {
      this.#inspector.close([over.fd, under?.fd ?? -1]);
      throw error;
    }
  }

  /** Other readers of archives may take what is beyond silt's own limits: it is written, and said once for each tree. */
  #warnWhereTooDeep(name: ByteString, above: number): void {
    const longest = MAX_NAME - MAX_COMPONENT;
    if (this.#levels.depth !== DEFAULT_LIMITS.maxDepth && (name.length <= longest || above > longest)) return;
    const limits = `${DEFAULT_LIMITS.maxDepth} components and ${MAX_NAME} bytes`;
    this.#warn('too-deep', name, `silt will refuse this archive as a seed where names in it have more than ${limits}`);
  }

  #list(name: ByteString, { fd }: { fd: number }): Listing {
    const listing = this.#names.read(fd);
    // Removed since it was opened: then there was nothing in it.
    if (listing === 'ENOENT') {
      this.#changed(name, 'it went away while it was read; it is written as an empty directory');
      return this.#names.empty();
    }
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
      this.#becameAnother(name);
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
    if (stored > LARGEST_BUFFERED) {
      this.#inspector.take(i);
      this.#contents.send(found.fd, stored, onShort);
    } else this.#contents.read(found.fd, stored, onShort);
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
    this.#output.write(this.#headers.encode(entry) ?? encodeHeaders(entry));
    this.#entries++;
  }

  /** In a container that runs on, files come and go. @throws SiltError when it is something else. */
  #isThere(name: ByteString, found: Inspected): boolean {
    const { errno, type } = found;
    if (errno === undefined) return true;
    if (errno === 'EXDEV') {
      this.#warn('mount-skipped', name, 'something is mounted there; it is left out');
      return false;
    }
    if (GONE.includes(errno)) this.#changed(name, 'it went away while it was read; it is left out');
    // What became a whiteout, or another device, cannot be opened on a mount without devices (EACCES), and only links can be read as links.
    else if ((errno === 'EINVAL' && type === DT.symlink) || !this.#inspector.isStill(found)) this.#becameAnother(name);
    else throw readFailure(name, errno);
    return false;
  }

  #becameAnother(name: ByteString): void {
    this.#changed(name, 'it became something else while it was read; it is left out');
  }

  #changed(name: ByteString, message: string): void {
    this.#warn('changed', name, message);
  }

  #warn(kind: ArchiveWarning['kind'], name: ByteString, message: string): void {
    const shown = printable(name);
    this.#options.onWarning(`${shown}: ${message}`, { kind, name: shown });
  }

  async #breathe(): Promise<void> {
    if (milliseconds() - this.#breath < BREATH_MS) return;
    await letOthersRun();
    this.#options.signal?.throwIfAborted();
    this.#breath = milliseconds();
  }
}

function isFileOrLink(type: number): boolean {
  return type === DT.file || type === DT.symlink;
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
