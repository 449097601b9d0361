/** Walks an upper and writes its archive. */
import { setImmediate } from 'node:timers/promises';
import { SiltError } from '../../../errors';
import { type ByteString, printable } from '../codec/bytes';
import type { ArchiveWarning, OnWarning } from '../entry';
import { Batch, type SyscallRunner } from '../io/batch';
import { DT } from '../io/dirents';
import { Contents } from './contents';
import { encodeHeaders, type OutEntry } from './headers';
import type { IdMaps } from './ids';
import { AT_ONCE, type Inspected, Inspector } from './inspector';
import { type Level, Levels } from './levels';
import { readListing } from './listing';
import type { Output } from './output';
import { Translator } from './translate';

export interface PackerOptions {
  readonly runner: SyscallRunner;
  readonly upperFd: number;
  readonly output: Output;
  readonly idMaps: IdMaps | undefined;
  readonly onWarning: OnWarning;
  readonly signal: AbortSignal | undefined;
  /** The process's working directory. */
  readonly here: number;
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
  /** First names of files that have more names to come. */
  readonly #links = new Map<string, { readonly name: ByteString; left: number }>();
  #firstWhiteout: OutEntry | undefined;
  #breath = performance.now();
  #entries = 0;

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
      const root = this.#inspector.inspectRoot(this.#options.upperFd);
      if (root.errno !== undefined) throw readFailure('./' as ByteString, root.errno);
      this.#enter('./' as ByteString, root);
      for (let level = this.#levels.top; level; level = this.#levels.top) {
        await this.#breathe();
        if (level.next < level.listing.length) await this.#step(level);
        else if (!this.#levels.leave())
          this.#changed(level.name, 'it was moved while it was read; the rest of what contains it is left out');
      }
    } finally {
      this.#levels.closeAll();
    }
  }

  /** The next entries of a directory: one directory, or a number of other things. */
  async #step(level: Level): Promise<void> {
    const list: { name: ByteString; type: number }[] = [];
    while (level.next < level.listing.length && list.length < AT_ONCE) {
      const name = level.listing.name(level.next);
      const type = level.listing.type(level.next) || this.#inspector.typeOf(level.fd, name);
      if (type === DT.directory && list.length > 0) break;
      level.next++;
      list.push({ name, type });
      if (type === DT.directory) break;
    }
    const inspected = this.#inspector.inspect(level.fd, list);
    if (inspected[0]!.type === DT.directory) {
      this.#directory(level, inspected[0]!);
      return;
    }
    try {
      for (const found of inspected) {
        const later = this.#emit(level, found);
        if (later) await later;
      }
    } finally {
      this.#inspector.closeAll(inspected);
    }
  }

  #directory(level: Level, found: Inspected): void {
    const name = `${level.name}${found.name}/` as ByteString;
    if (this.#isThere(name, found)) this.#enter(name, found);
  }

  /** Writes a directory's entry and makes it the one that is read; its fd is closed when it has been read. */
  #enter(name: ByteString, found: Inspected): void {
    try {
      this.#write({ name, type: '5', ...this.#translator.metadata(name, found) });
      const listing = readListing(this.#batch, found.fd);
      if (typeof listing === 'string') throw readFailure(name, listing);
      this.#levels.enter(name, found.fd, listing);
    } catch (error) {
      this.#inspector.closeAll([found]);
      throw error;
    }
  }

  #emit(level: Level, found: Inspected): void | Promise<void> {
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
      this.#whiteout(name, found);
      return undefined;
    }
    const metadata = this.#translator.metadata(name, found);
    const first = this.#firstName(name, found);
    if (first === undefined && type === '0') return this.#file(name, found, metadata);
    // As in gVisor's archives, the attributes of a file stand at its first name only.
    if (first !== undefined) this.#write({ name, type: '1', linkname: first, ...metadata, xattrs: [] });
    else if (type === '2') this.#write({ name, type, linkname: found.target!, ...metadata });
    else this.#write({ name, type, major: found.stat.major, minor: found.stat.minor, ...metadata });
    return undefined;
  }

  #file(name: ByteString, found: Inspected, metadata: ReturnType<Translator['metadata']>): void | Promise<void> {
    const layout = this.#contents.layout(found);
    const { stored, map } = layout;
    this.#write({ name, type: '0', ...metadata, stored, ...(map && { realSize: found.stat.size }) });
    const missing = this.#contents.write(found, layout);
    if (typeof missing !== 'number') return missing.then((count) => this.#padded(name, count));
    return undefined;
  }

  #padded(name: ByteString, missing: number): void {
    if (missing > 0) this.#changed(name, `it shrank by ${missing} bytes while it was read; zeros are written for them`);
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

function readFailure(name: ByteString, errno: string): SiltError {
  const path = printable(name);
  return new SiltError('SYSCALL_FAILED', `reading "${path}" for the archive: ${errno}`, { path, errno });
}
