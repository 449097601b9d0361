/** Makes regular files: small ones many to a batch, large ones without their bytes passing through JavaScript. */
import { writeSync } from 'node:fs';
import { C } from '../../../syscall';
import { printable } from '../codec/bytes';
import type { SparseMap } from '../codec/sparse';
import type { Body, Entry } from '../entry';
import { entryFailure, type Place } from '../faults';
import { type Arg, type Batch, NOWHERE } from '../io/batch';
import { letOthersRun } from '../io/breath';
import { close, createFile, fchmod, fchown, ftruncate, futimens, lseek, pwrite, sendfile, write } from '../io/calls';
import type { ArchiveReader } from '../reader/reader';
import { type Attributes, sizeOf } from './attributes';
import type { Directory } from './directories';
import type { Operations, Recover } from './operations';

/** What one file may take of a batch that it shares; beyond that it has batches of its own. */
const MAX_RUNS = 32;
const MAX_XATTRS = 32;
const MAX_XATTR_BYTES = 128 << 10;
/** How much is moved before other things in this process have their turn. */
const PIECE = 64 << 20;

const CREATING = 'creating the file';
const WRITING = 'writing its contents';

/** Can the file be made with its mode? Other bits are lost when it is given away or written to. */
function isPlain({ mode }: Entry): boolean {
  return (mode & ~0o777) === 0;
}

/** Size that the map gives each stored run, or one run for a file without holes. */
function runsOf({ map, stored }: Body): SparseMap {
  return map ?? Float64Array.of(0, stored);
}

export class Files {
  readonly #ops: Operations;
  readonly #attributes: Attributes;
  readonly #reader: ArchiveReader;
  readonly #uid = process.geteuid?.();
  readonly #gid = process.getegid?.();

  constructor(ops: Operations, attributes: Attributes, reader: ArchiveReader) {
    this.#ops = ops;
    this.#attributes = attributes;
    this.#reader = reader;
  }

  #isMovable({ inline, stored }: Body): boolean {
    return inline !== undefined || (this.#reader.source.fd !== undefined && stored <= PIECE);
  }

  /** Makes the file, when its turn comes; `makeWay` takes away what has its name. */
  make(entry: Entry, directory: Directory, place: Place, makeWay: () => void): void | Promise<void> {
    const body = entry.body!;
    const runs = (body.map?.length ?? 2) / 2;
    let bytes = 0;
    for (const xattr of entry.xattrs) bytes += sizeOf(xattr);
    const fits = runs <= MAX_RUNS && entry.xattrs.length <= MAX_XATTRS && bytes <= MAX_XATTR_BYTES;
    if (!fits || !this.#isMovable(body)) return this.#makeAlone(entry, directory, place, makeWay);
    const batch = this.#ops.reserve(
      8 + runs * 2 + entry.xattrs.length,
      256 + entry.path.base.length + body.stored + bytes + runs * 16,
    );
    const { file } = this.#ops;
    const opened = this.#open(entry, directory, place, makeWay);
    batch.step(WRITING);
    if (body.map) ftruncate(batch, file, entry.size);
    if (body.inline) this.#writeInline(body, body.inline, body.inlineAt!);
    else this.#moveRuns(file, body);
    this.#finish(file, entry, place);
    this.#ops.hasFile(opened, close(batch, file));
    return undefined;
  }

  #open(entry: Entry, directory: Directory, place: Place, makeWay: () => void): number {
    const { batch, fileSlot } = this.#ops;
    const recover: Recover = ({ index, errno, step }) => {
      if (step !== CREATING || errno !== 'EEXIST') return undefined;
      makeWay();
      return index;
    };
    this.#ops.begin(place, recover);
    batch.step(CREATING);
    return createFile(
      batch,
      fileSlot,
      directory.fd,
      batch.string(entry.path.base),
      isPlain(entry) ? entry.mode : 0o600,
    );
  }

  #writeInline(body: Body, contents: Buffer, from: number): void {
    const { batch, file } = this.#ops;
    if (body.stored === 0) return;
    const data = batch.part(contents, from, body.stored);
    if (!body.map) {
      write(batch, file, data, body.stored);
      return;
    }
    let done = 0;
    for (let i = 0; i < body.map.length; i += 2) {
      const length = body.map[i + 1]!;
      if (length > 0) pwrite(batch, file, data + done, length, body.map[i]!);
      done += length;
    }
  }

  #moveRuns(file: Arg, body: Body): void {
    const { batch } = this.#ops;
    const from = batch.word64(body.offset);
    const runs = runsOf(body);
    for (let i = 0; i < runs.length; i += 2) {
      if (body.map) lseek(batch, NOWHERE, file, runs[i]!, C.SEEK_SET);
      if (runs[i + 1]! > 0) sendfile(batch, file, this.#reader.source.fd!, from, runs[i + 1]!);
    }
  }

  #finish(file: Arg, entry: Entry, place: Place): void {
    this.#own(file, entry);
    for (const xattr of entry.xattrs) this.#attributes.add(file, xattr, place);
    this.#ops.begin(place);
    this.#ops.batch.step('setting its time');
    futimens(this.#ops.batch, file, entry.mtime);
  }

  /** The owner first: a new owner costs a file its set-uid bit and its capabilities (chown(2)). */
  #own(file: Arg, entry: Entry): void {
    const { batch } = this.#ops;
    // What is made belongs to whoever makes it, as no directory that things are made in has the set-gid bit.
    if (entry.uid !== this.#uid || entry.gid !== this.#gid) {
      batch.step('setting its owner');
      fchown(batch, file, entry.uid, entry.gid);
    }
    if (isPlain(entry)) return;
    batch.step('setting its mode');
    fchmod(batch, file, entry.mode);
  }

  /** A file with an fd of its own over as many batches as it takes. */
  async #makeAlone(entry: Entry, directory: Directory, place: Place, makeWay: () => void): Promise<void> {
    const { fileSlot } = this.#ops;
    this.#ops.reserve(1, entry.path.base.length + 64);
    this.#open(entry, directory, place, makeWay);
    // The open is the last call, so its slot still has the result.
    const fd = this.#ops.flushKeepingSlot(fileSlot);
    try {
      const body = entry.body!;
      if (body.map) this.#alone(place, WRITING, (batch) => ftruncate(batch, fd, entry.size));
      if (body.inline)
        this.#writeAlone(fd, body, body.inline.subarray(body.inlineAt, body.inlineAt! + body.stored), place);
      else if (this.#reader.source.fd === undefined) await this.#stream(fd, body, place);
      else await this.#move(fd, body, place);
      this.#ops.reserve(2, 0);
      this.#ops.begin(place);
      this.#own(fd, entry);
      for (const xattr of entry.xattrs) this.#attributes.set(fd, xattr, place);
      this.#alone(place, 'setting its time', (batch) => futimens(batch, fd, entry.mtime));
      this.#ops.flush();
    } finally {
      this.#ops.now((aside) => close(aside, fd));
    }
  }

  #alone(place: Place, step: string, add: (batch: Batch) => void): void {
    const batch = this.#ops.reserve(2, 64);
    this.#ops.begin(place);
    batch.step(step);
    add(batch);
  }

  async #move(fd: number, body: Body, place: Place): Promise<void> {
    const runs = runsOf(body);
    let from = body.offset;
    for (let i = 0; i < runs.length; i += 2) {
      const end = runs[i]! + runs[i + 1]!;
      for (let at = runs[i]!; at < end; at += PIECE) {
        const length = Math.min(end - at, PIECE);
        const offset = from;
        this.#alone(place, WRITING, (batch) => {
          lseek(batch, NOWHERE, fd, at, C.SEEK_SET);
          sendfile(batch, fd, this.#reader.source.fd!, batch.word64(offset), length);
        });
        from += length;
        if (length < PIECE) continue;
        this.#ops.flush();
        await letOthersRun();
      }
    }
  }

  async #stream(fd: number, body: Body, place: Place): Promise<void> {
    const runs = runsOf(body);
    let run = 0;
    let done = 0;
    for (let chunk = await this.#reader.readBody(); chunk; chunk = await this.#reader.readBody()) {
      for (let at = 0; at < chunk.length;) {
        while (done === runs[run + 1]!) {
          run += 2;
          done = 0;
        }
        const length = Math.min(chunk.length - at, runs[run + 1]! - done);
        writeAt(fd, chunk.subarray(at, at + length), runs[run]! + done, place);
        at += length;
        done += length;
      }
    }
  }

  #writeAlone(fd: number, body: Body, contents: Buffer, place: Place): void {
    const runs = runsOf(body);
    let at = 0;
    for (let i = 0; i < runs.length; i += 2) {
      writeAt(fd, contents.subarray(at, at + runs[i + 1]!), runs[i]!, place);
      at += runs[i + 1]!;
    }
  }
}

/** Writes bytes that are in JavaScript already; a program would copy them once more. */
function writeAt(fd: number, data: Buffer, position: number, place: Place): void {
  try {
    for (let at = 0; at < data.length;) at += writeSync(fd, data, at, data.length - at, position + at);
  } catch (error) {
    throw entryFailure(place, WRITING, (error as NodeJS.ErrnoException).code ?? printable(Buffer.from(String(error))));
  }
}
