/** Where an archive is written: headers and small files through a buffer, large files by sendfile(2). */
import { writeSync } from 'node:fs';
import { type ErrorCode, SiltError } from '../../../errors';
import { BLOCK } from '../codec/header';
import { Batch, type SyscallRunner } from '../io/batch';
import { failed, pread, sendfileOnce, waitWritable } from '../io/calls';
import { errnoName } from '../../../syscall';

const BUFFER = 1 << 20;
/** How much one call moves, so that the process is not deaf for long. */
const PIECE = 64 << 20;
const COPY = 256 << 10;
const ZEROS = Buffer.alloc(64 << 10);

export class Output {
  readonly #fd: number;
  readonly #batch: Batch;
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER);
  #used = 0;
  #written = 0;
  /** Cleared when the kernel cannot send to this kind of file, such as one that is open for appending. */
  #canSend = true;

  constructor(runner: SyscallRunner, fd: number) {
    this.#fd = fd;
    this.#batch = new Batch(runner, { imageSize: COPY + 4096, maxCalls: 4 });
  }

  /** Bytes of the archive so far. */
  get offset(): number {
    return this.#written + this.#used;
  }

  write(data: Buffer, from = 0, end = data.length): void {
    for (let at = from; at < end;) {
      if (this.#used === BUFFER) this.flush();
      const count = data.copy(this.#buffer, this.#used, at, end);
      this.#used += count;
      at += count;
    }
  }

  zeros(count: number): void {
    for (let left = count; left > 0; left -= ZEROS.length) this.write(ZEROS, 0, Math.min(left, ZEROS.length));
  }

  /** Fills the last block of an entry. */
  pad(): void {
    this.zeros(-this.offset & (BLOCK - 1));
  }

  /**
   * Sends a part of a file; several calls may be needed.
   * @returns how many bytes were sent: 0 at the file's end.
   */
  send(from: number, offset: number, length: number): number {
    this.flush();
    const count = this.#canSend ? this.#send(from, offset, Math.min(length, PIECE)) : this.#copy(from, offset, length);
    this.#written += count;
    return count;
  }

  flush(): void {
    let at = 0;
    while (at < this.#used) at += this.#writeSome(this.#buffer.subarray(at, this.#used));
    this.#written += this.#used;
    this.#used = 0;
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
    if (failed(count))
      throw new SiltError('SYSCALL_FAILED', `reading a file for the archive: ${errnoName(count)}`, {
        errno: errnoName(count),
      });
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

function writeFailure(errno: string): SiltError {
  const full = errno === 'ENOSPC' || errno === 'EDQUOT';
  const code: ErrorCode = full ? 'NO_SPACE' : 'SYSCALL_FAILED';
  return new SiltError(code, `writing the archive: ${errno}${full ? ', the filesystem is full' : ''}`, { errno });
}
