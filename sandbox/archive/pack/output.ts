/**
 * Where an archive is written. Headers and small files go through two buffers in turn: while one is filled, the other one is written on another
 * thread. Larger files are sent by sendfile(2), between what stands in front of them in the buffer and what comes behind; the largest in pieces of their
 * own.
 */
import { closeSync, fstatSync, readSync, writeSync } from 'node:fs';
import { type ErrorCode, SiltError } from '../../../errors';
import type { NativeAddon } from '../../../native';
import { errnoName, errnoNumber } from '../../../syscall';
import { BLOCK } from '../codec/header';
import { Batch, type SyscallRunner } from '../io/batch';
import { failed, pread, sendfileOnce, waitWritable } from '../io/calls';

/** What is needed of the native addon. */
export type OutputRunner = SyscallRunner & Pick<NativeAddon, 'startWriting' | 'finishWriting'>;

/** Waking the other thread takes as long as reading dozens of files. */
const BUFFER = 512 << 10;
/** Files that are sent with one buffer; each is open until then. */
const FILES = 250;
/** Contents up to this size go through a buffer. */
export const LARGEST_BUFFERED = 32 << 10;
/** Files up to this size are sent between two parts of a buffer. */
export const LARGEST_SENT = 64 << 20;
/** So much is sent with one buffer, if it is not one file: with more of it one thread would wait for the other. */
const SENT_AT_ONCE = 2 << 20;
/** How much one call moves, so that the process is not deaf for long. */
const PIECE = 4 << 20;
const COPY = 256 << 10;
const ZEROS = Buffer.alloc(64 << 10);
/** Places of the numbers of a file that is sent (native/archive-part.h). */
const SEND = { fd: 0, at: 1, size: 2 } as const;
export const SEND_NUMBERS = 3;
/** Places of those that say how far the writing of a buffer came. */
const OUTCOME = { sent: 0, moved: 1, written: 2, error: 3 } as const;
/** When there is no other thread: as if it would have had to wait. */
const NOTHING_WRITTEN = [0, 0, 0, errnoNumber('EAGAIN')];

/** Told how many bytes a file has less than was said: they are zeros in the archive, as GNU tar writes them. */
export type OnShort = (missing: number) => void;

/** What the addon is given of the buffer that is being filled. */
export interface Filling {
  readonly bytes: Buffer;
  readonly used: number;
  /** Files that are sent, how many there are, and of how many bytes there may be more. */
  readonly sends: Uint32Array;
  readonly count: number;
  readonly sendBytes: number;
}

class Half {
  readonly bytes = Buffer.alloc(BUFFER);
  readonly sends = new Uint32Array(SEND_NUMBERS * FILES);
  /** For each file that is sent. */
  readonly onShort: OnShort[] = [];
  used = 0;
  /** Bytes of the files that are sent. */
  sent = 0;

  clear(): void {
    this.used = this.sent = this.onShort.length = 0;
  }

  send(index: number, what: keyof typeof SEND): number {
    return this.sends[SEND_NUMBERS * index + SEND[what]]!;
  }

  /** Closes the files from one on. */
  closeFrom(index: number): void {
    for (let i = index; i < this.onShort.length; i++) closeSync(this.send(i, 'fd'));
    this.onShort.length = 0;
  }
}

export class Output {
  readonly #fd: number;
  readonly #runner: OutputRunner;
  readonly #batch: Batch;
  readonly #halves: readonly [Half, Half] = [new Half(), new Half()];
  #filling = this.#halves[0];
  /** The half that is being written. */
  #running: Half | undefined;
  /** Whether another thread writes it. */
  #threaded = false;
  readonly #outcome = new Uint32Array(Object.keys(OUTCOME).length);
  #offset = 0;
  /** Others than regular files may take less than they are sent. */
  readonly #isFile: boolean;
  /** Cleared when the kernel cannot send to this kind of file, such as one that is open for appending. */
  #canSend = true;

  constructor(runner: OutputRunner, fd: number) {
    this.#fd = fd;
    this.#runner = runner;
    this.#batch = new Batch(runner, { imageSize: COPY + 4096, maxCalls: 4 });
    this.#isFile = fstatSync(fd).isFile();
  }

  /** Bytes of the archive so far. */
  get offset(): number {
    return this.#offset;
  }

  write(data: Buffer, from = 0, end = data.length): void {
    for (let at = from; at < end;) {
      if (this.#filling.used === BUFFER) this.turn();
      const half = this.#filling;
      const count = data.copy(half.bytes, half.used, at, Math.min(end, at + BUFFER - half.used));
      half.used += count;
      this.#offset += count;
      at += count;
    }
  }

  /** The buffer that is being filled, for the addon; {@link took} is told what it has added. */
  get filling(): Filling {
    const { bytes, used, sends, onShort, sent } = this.#filling;
    return { bytes, used, sends, count: onShort.length, sendBytes: Math.max(0, SENT_AT_ONCE - sent) };
  }

  /** There is more in the buffer now: so many bytes, and files that are to be sent, whose sizes are so much together. */
  took(bytes: number, files: readonly OnShort[], sent: number): void {
    const half = this.#filling;
    half.used += bytes;
    half.onShort.push(...files);
    half.sent += sent;
    this.#offset += bytes + sent;
  }

  zeros(count: number): void {
    for (let left = count; left > 0; left -= ZEROS.length) this.write(ZEROS, 0, Math.min(left, ZEROS.length));
  }

  /** Fills the last block of an entry. */
  pad(): void {
    const count = -this.#offset & (BLOCK - 1);
    if (count > 0) this.zeros(count);
  }

  /** The first `size` bytes of a file, at most {@link LARGEST_BUFFERED}. */
  file(fd: number, size: number, onShort: OnShort): void {
    if (this.#filling.used + size > BUFFER) this.turn();
    const { bytes, used } = this.#filling;
    let count = 0;
    for (let got = 1; got > 0 && count < size; count += got)
      got = readSome(fd, bytes.subarray(used + count, used + size), count);
    bytes.fill(0, used + count, used + size);
    this.took(size, [], 0);
    if (count < size) onShort(size - count);
  }

  /** Can a file of this size be given to {@link sendFile}? */
  sends(size: number): boolean {
    return this.#isFile && this.#canSend && size <= LARGEST_SENT;
  }

  /**
   * As {@link file}, of a larger file: {@link sends} has said yes to its size. It is read some time before {@link flush} returns, and then
   * the fd is closed.
   */
  sendFile(fd: number, size: number, onShort: OnShort): void {
    const { count, sendBytes } = this.filling;
    if (count === FILES || (count > 0 && size > sendBytes)) this.turn();
    const half = this.#filling;
    half.sends.set([fd, half.used, size], SEND_NUMBERS * half.onShort.length);
    this.took(0, [onShort], size);
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
    this.turn();
    this.#finish();
  }

  /** Closes the files that were not sent, after a failure. */
  abandon(): void {
    const half = this.#running;
    this.#running = undefined;
    if (half) {
      if (this.#threaded) this.#runner.finishWriting();
      half.closeFrom(this.#outcome[OUTCOME.sent]!);
    }
    this.#filling.closeFrom(0);
  }

  /** Begins to write what there is, and goes on with the other buffer. @returns false when there is nothing. */
  turn(): boolean {
    const half = this.#filling;
    if (half.used === 0 && half.onShort.length === 0) return false;
    this.#finish();
    const bytes = half.bytes.subarray(0, half.used);
    this.#threaded = this.#runner.startWriting(this.#fd, bytes, half.sends, half.onShort.length, this.#outcome);
    if (!this.#threaded) this.#outcome.set(NOTHING_WRITTEN);
    this.#running = half;
    this.#filling = half === this.#halves[0] ? this.#halves[1] : this.#halves[0];
    this.#filling.clear();
    return true;
  }

  /** Waits for the half that is being written. */
  #finish(): void {
    const half = this.#running;
    if (!half) return;
    this.#running = undefined;
    if (this.#threaded) this.#runner.finishWriting();
    if (this.#outcome[OUTCOME.error] !== 0) this.#writeRest(half);
  }

  /** Writes what of a half has not been written, because the output would have had to wait, or a file is shorter, or cannot be sent. */
  #writeRest(half: Half): void {
    const errno = errnoName(this.#outcome[OUTCOME.error]!);
    let next = this.#outcome[OUTCOME.sent]!;
    let moved = this.#outcome[OUTCOME.moved]!;
    let written = this.#outcome[OUTCOME.written]!;
    const sending = next < half.onShort.length && written === half.send(next, 'at');
    try {
      if (sending && errno === 'EINVAL') this.#canSend = false;
      else if (errno !== 'EAGAIN' && !(sending && errno === 'ENODATA')) throw writeFailure(errno);
      for (; next < half.onShort.length; next++, moved = 0) {
        const at = half.send(next, 'at');
        this.#writeAll(half.bytes.subarray(written, at));
        written = at;
        this.#copyRest(half.send(next, 'fd'), moved, half.send(next, 'size'), half.onShort[next]!);
        closeSync(half.send(next, 'fd'));
      }
      this.#writeAll(half.bytes.subarray(written, half.used));
    } catch (error) {
      half.closeFrom(next);
      throw error;
    }
  }

  /** What is left of a file, if there is more of it, and zeros for the rest. */
  #copyRest(fd: number, from: number, size: number, onShort: OnShort): void {
    let at = from;
    for (let count = 1; count > 0 && at < size; at += count) count = this.#copy(fd, at, size - at);
    if (at === size) return;
    for (let left = size - at; left > 0; left -= ZEROS.length) this.#writeAll(ZEROS.subarray(0, left));
    onShort(size - at);
  }

  #writeAll(data: Buffer): void {
    for (let at = 0; at < data.length;) at += this.#writeSome(data.subarray(at));
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
    this.#writeAll(data);
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

/** Fills a place with what a file has from a position on. @throws SiltError. */
function readSome(fd: number, into: Buffer, position: number): number {
  try {
    return readSync(fd, into, 0, into.length, position);
  } catch (error) {
    throw readFailure((error as NodeJS.ErrnoException).code ?? 'EIO');
  }
}

function readFailure(errno: string): SiltError {
  return new SiltError('SYSCALL_FAILED', `reading a file for the archive: ${errno}`, { errno });
}

function writeFailure(errno: string): SiltError {
  const full = errno === 'ENOSPC' || errno === 'EDQUOT';
  const code: ErrorCode = full ? 'NO_SPACE' : 'SYSCALL_FAILED';
  return new SiltError(code, `writing the archive: ${errno}${full ? ', the filesystem is full' : ''}`, { errno });
}
