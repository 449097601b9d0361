/**
 * Where an archive is written. Headers and small files go through two buffers in turn: while one is filled, the other one is written by a
 * program on another thread, which first reads those of its files that the addon has not (see plain-files.ts). Larger files are sent by
 * sendfile(2), between what stands in front of them in the buffer and what comes behind; the largest in pieces of their own.
 */
import { fstatSync, readSync, writeSync } from 'node:fs';
import { type ErrorCode, SiltError } from '../../../errors';
import { C, errnoName } from '../../../syscall';
import { BLOCK } from '../codec/header';
import { Batch, type Failure, type SyscallRunner } from '../io/batch';
import {
  close,
  failed,
  lseek,
  pread,
  readAll,
  sendfile,
  sendfileOnce,
  waitWritable,
  write,
  writeOnce,
} from '../io/calls';

/** Waking the other thread takes as long as reading dozens of files. */
const BUFFER = 2 << 20;
/** Files that one buffer takes; each is open until it has been read. */
const FILES = 250;
/** Contents up to this size go through a buffer. */
export const LARGEST_BUFFERED = 128 << 10;
/** Files up to this size are sent between two parts of a buffer, as many as come to it together. */
export const LARGEST_SENT = 64 << 20;
const MOST_SENT = LARGEST_SENT;
/** How much one call moves, so that the process is not deaf for long. */
const PIECE = 4 << 20;
const COPY = 256 << 10;
const ZEROS = Buffer.alloc(64 << 10);

/** A file whose contents belong at a place in a buffer. */
interface Reading {
  readonly fd: number;
  readonly call: number;
  readonly at: number;
  readonly size: number;
  readonly onShort: OnShort;
}

/** Told how many bytes a file has less than was said: they are zeros in the archive, as GNU tar writes them. */
export type OnShort = (missing: number) => void;

/** A file that is sent, and where in the archive it ends. */
interface Sending {
  readonly fd: number;
  readonly call: number;
  readonly offset: number;
  readonly size: number;
  readonly onShort: OnShort;
}

interface Half {
  readonly batch: Batch;
  /** Where in the batch's image the buffer begins. */
  readonly start: number;
  /** Slot for how much the last write has written. */
  readonly result: number;
  readonly readings: Reading[];
  readonly sendings: Sending[];
  used: number;
  /** How much of `used` is in front of the last file that is sent, and written before it. */
  written: number;
  /** Bytes of the files that are sent. */
  sent: number;
}

export class Output {
  readonly #fd: number;
  readonly #batch: Batch;
  readonly #halves: readonly [Half, Half];
  #filling: Half;
  /** The half that is being read and written. */
  #running: Half | undefined;
  #offset = 0;
  /** Where in the output, a regular file, the archive begins; for others nothing can be sent in between, because they may write less. */
  readonly #base: number | undefined;
  /** Cleared when the kernel cannot send to this kind of file, such as one that is open for appending. */
  #canSend = true;

  constructor(runner: SyscallRunner, fd: number) {
    this.#fd = fd;
    this.#batch = new Batch(runner, { imageSize: COPY + 4096, maxCalls: 4 });
    this.#base = fstatSync(fd).isFile() ? this.#position() : undefined;
    this.#halves = [newHalf(runner), newHalf(runner)];
    this.#filling = this.#halves[0];
  }

  /** Bytes of the archive so far. */
  get offset(): number {
    return this.#offset;
  }

  write(data: Buffer, from = 0, end = data.length): void {
    for (let at = from; at < end;) {
      if (this.#filling.used === BUFFER) this.#submit();
      const half = this.#filling;
      const count = data.copy(half.batch.image, half.start + half.used, at, Math.min(end, at + BUFFER - half.used));
      half.used += count;
      this.#offset += count;
      at += count;
    }
  }

  /** Makes room for so many bytes, to be put together at the returned place in {@link bytes} and announced with {@link took}. */
  room(count: number): number {
    if (this.#filling.used + count > BUFFER) this.#submit();
    return this.#filling.start + this.#filling.used;
  }

  /** Where in {@link bytes} the room ends that there is. */
  get roomEnd(): number {
    return this.#filling.start + BUFFER;
  }

  get bytes(): Uint8Array {
    return this.#filling.batch.image;
  }

  took(count: number): void {
    this.#filling.used += count;
    this.#offset += count;
  }

  zeros(count: number): void {
    for (let left = count; left > 0; left -= ZEROS.length) this.write(ZEROS, 0, Math.min(left, ZEROS.length));
  }

  /** Fills the last block of an entry. */
  pad(): void {
    const count = -this.#offset & (BLOCK - 1);
    if (count > 0) this.zeros(count);
  }

  /**
   * The first `size` bytes of a file, at most {@link LARGEST_BUFFERED}. They are read some time before {@link flush} returns, and then
   * the fd is closed.
   */
  file(fd: number, size: number, onShort: OnShort): void {
    if (this.#filling.used + size > BUFFER || this.#filling.readings.length + this.#filling.sendings.length === FILES)
      this.#submit();
    const { batch, start, used, readings } = this.#filling;
    const at = start + used;
    readings.push({ fd, call: readAll(batch, fd, at, size), at, size, onShort });
    close(batch, fd);
    this.#filling.used += size;
    this.#offset += size;
  }

  /** Can a file of this size be given to {@link sendFile}? */
  sends(size: number): boolean {
    return this.#base !== undefined && this.#canSend && size <= LARGEST_SENT;
  }

  /** As {@link file}, of a larger file: {@link sends} has said yes to its size. */
  sendFile(fd: number, size: number, onShort: OnShort): void {
    if (
      this.#filling.sent + size > MOST_SENT ||
      this.#filling.readings.length + this.#filling.sendings.length === FILES
    )
      this.#submit();
    const half = this.#filling;
    const { batch, start, sendings } = half;
    if (half.used > half.written) write(batch, this.#fd, start + half.written, half.used - half.written);
    half.written = half.used;
    sendings.push({ fd, call: batch.calls, offset: this.#offset, size, onShort });
    sendfile(batch, this.#fd, fd, batch.word64(0), size);
    close(batch, fd);
    half.sent += size;
    this.#offset += size;
  }

  /**
   * Sends a part of a file; several calls may be needed.
   * @returns how many bytes were sent: 0 at the file's end.
   */
  send(from: number, offset: number, length: number): number {
    this.flush();
    const count = this.#canSend ? this.#send(from, offset, Math.min(length, PIECE)) : this.#copy(from, offset, length);
    this.#offset += count;
    return count;
  }

  /** Returns when everything is written. */
  flush(): void {
    this.#submit();
    this.#finish();
  }

  /** Closes the files that were not read, after a failure. */
  abandon(): void {
    const failure = this.#running?.batch.finish();
    if (this.#running) this.#closeFrom(this.#running, failure);
    this.#running = undefined;
    this.#closeFrom(this.#filling, { index: 0 });
  }

  #closeFrom({ batch, readings, sendings }: Half, from: { readonly index: number } | undefined): void {
    if (!from) return;
    batch.clear();
    for (const { fd, call } of [...readings, ...sendings]) if (call >= from.index) close(batch, fd);
    batch.run();
    readings.length = sendings.length = 0;
  }

  /** Begins to read and write what there is, and turns to the other buffer. */
  #submit(): void {
    const half = this.#filling;
    const { batch, start, used, written, result } = half;
    if (used === written && batch.calls === 0) return;
    this.#finish();
    if (used > written) writeOnce(batch, result, this.#fd, start + written, used - written);
    batch.start();
    this.#running = half;
    const other = half === this.#halves[0] ? this.#halves[1] : this.#halves[0];
    other.batch.clear();
    other.readings.length = other.sendings.length = other.used = other.written = other.sent = 0;
    this.#filling = other;
  }

  /** Waits for the half that is being written. */
  #finish(): void {
    const half = this.#running;
    if (!half) return;
    this.#running = undefined;
    const { batch, readings, sendings } = half;
    for (let failure = batch.finish(); failure; failure = batch.run(failure.index + 1)) {
      const { index } = failure;
      const reading = readings.find(({ call }) => call === index);
      const sending = sendings.find(({ call }) => call === index);
      try {
        if (reading) readAgain(reading, batch.image, failure);
        else if (sending) this.#sendAgain(sending, failure);
        else if (failure.errno !== 'EAGAIN') throw writeFailure(failure.errno);
        else {
          this.#writeAll(half, 0);
          return;
        }
      } catch (error) {
        this.#closeFrom(half, failure);
        throw error;
      }
    }
    if (half.used > half.written) this.#writeAll(half, batch.slot(half.result));
  }

  /** Sends what is left of a file, if there is more of it, and zeros for the rest. */
  #sendAgain({ fd, offset, size, onShort }: Sending, { errno }: Failure): void {
    if (errno === 'EINVAL') this.#canSend = false;
    else if (errno !== 'ENODATA') throw writeFailure(errno);
    // A file that is open for appending takes nothing, and what its offset is says nothing.
    let at = errno === 'EINVAL' ? 0 : this.#position() - this.#base! - offset;
    for (let count = 1; count > 0 && at < size; at += count) count = this.#copy(fd, at, size - at);
    if (at === size) return;
    for (let left = size - at; left > 0;) left -= this.#writeSome(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
    onShort(size - at);
  }

  /** The file's offset. */
  #position(): number {
    const batch = this.#batch;
    batch.clear();
    const result = batch.newSlot();
    lseek(batch, result, this.#fd, 0, C.SEEK_CUR);
    const failure = batch.run();
    if (failure) throw writeFailure(failure.errno);
    return batch.slot(result);
  }

  /** What one call has not written. */
  #writeAll({ batch, start, used, written }: Half, done: number): void {
    for (let at = written + done; at < used;) at += this.#writeSome(batch.image.subarray(start + at, start + used));
  }

  #send(from: number, offset: number, length: number): number {
    const batch = this.#batch;
    for (;;) {
      batch.clear();
      const result = batch.newSlot();
      sendfileOnce(batch, result, this.#fd, from, batch.word64(offset), length);
      const failure = batch.run();
      if (!failure) return batch.slot(result);
      if (failure.errno === 'EINVAL') {
        this.#canSend = false;
        return this.#copy(from, offset, length);
      }
      if (failure.errno !== 'EAGAIN') throw writeFailure(failure.errno);
      this.#wait();
    }
  }

  #copy(from: number, offset: number, length: number): number {
    const batch = this.#batch;
    batch.clear();
    const result = batch.newSlot();
    const at = batch.space(COPY);
    pread(batch, result, from, at, Math.min(length, COPY), offset);
    batch.tolerateAll();
    batch.run();
    const count = batch.slot(result);
    if (failed(count)) throw readFailure(errnoName(count));
    const data = Buffer.from(batch.image.subarray(at, at + count));
    for (let done = 0; done < count;) done += this.#writeSome(data.subarray(done));
    return count;
  }

  #writeSome(data: Buffer): number {
    for (;;) {
      try {
        return writeSync(this.#fd, data);
      } catch (error) {
        const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
        if (errno !== 'EAGAIN') throw writeFailure(errno);
        this.#wait();
      }
    }
  }

  /** A pipe whose other end is slow, in non-blocking mode. */
  #wait(): void {
    this.#batch.clear();
    waitWritable(this.#batch, this.#fd);
    this.#batch.run();
  }
}

function newHalf(runner: SyscallRunner): Half {
  const batch = new Batch(runner, { imageSize: BUFFER + 16 * (FILES + 1), maxCalls: 3 * FILES + 1 });
  const places = { start: batch.space(BUFFER), result: batch.newSlot() };
  const half = { batch, ...places, readings: [], sendings: [], used: 0, written: 0, sent: 0 };
  batch.keep();
  return half;
}

/** Reads as much of a file as there still is, and tells of what is missing. @throws SiltError. */
function readAgain({ fd, at, size, onShort }: Reading, image: Buffer, { errno }: Failure): void {
  if (errno !== 'ENODATA') throw readFailure(errno);
  let count = 0;
  for (let got = 1; got > 0 && count < size; count += got) got = readSync(fd, image, at + count, size - count, count);
  image.fill(0, at + count, at + size);
  if (count < size) onShort(size - count);
}

function readFailure(errno: string): SiltError {
  return new SiltError('SYSCALL_FAILED', `reading a file for the archive: ${errno}`, { errno });
}

function writeFailure(errno: string): SiltError {
  const full = errno === 'ENOSPC' || errno === 'EDQUOT';
  const code: ErrorCode = full ? 'NO_SPACE' : 'SYSCALL_FAILED';
  return new SiltError(code, `writing the archive: ${errno}${full ? ', the filesystem is full' : ''}`, { errno });
}
