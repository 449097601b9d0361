import type { WatchHandle } from '../../native';
import { type Kernel, ProgramBuilder } from '../../syscall';

const READABLE = 1;
const WRITABLE = 2;
const EAGAIN = -11;
const SIZE = 65536;

/** Output that is in between, while its writer stands still. */
export interface PendingOutput {
  /** Keeps it where it is until {@link release}, and returns it. */
  hold(): Buffer;
  release(what: 'copy' | 'drop'): void;
}

/**
 * Copies from one fd to another in the event loop, at most 64 KiB held: between a pty's master and fifos, which the kernel
 * cannot connect by itself. Both fds become non-blocking. Borrows them: the owner closes them after {@link stop}.
 */
export class Pump implements PendingOutput {
  readonly #read;
  readonly #watch: WatchHandle;
  #output: WatchHandle | undefined;
  #pending: Buffer;
  #stopped = false;
  #held = false;
  #onFinished: (() => void) | undefined;

  /**
   * @param onEnd called once when the input has ended or either side failed.
   * @param before written before anything of the input
   */
  constructor(
    private readonly kernel: Kernel,
    from: number,
    private readonly to: number,
    private readonly onEnd: () => void,
    before: Buffer = Buffer.alloc(0),
  ) {
    this.#pending = before;
    const p = new ProgramBuilder();
    const buffer = p.space(SIZE);
    const count = p.slot('count');
    p.call('read', [from, buffer, SIZE], { out: count, tolerate: 'all', retry: true });
    this.#read = { program: p.build(), buffer, count };
    // The input becomes non-blocking by being watched.
    setNonBlocking(kernel, to);
    this.#watch = kernel.watch(from, READABLE, () => this.#copy());
    this.#flush();
  }

  /**
   * Nothing is copied until {@link release}. The writer stands still: returns what it has written and nobody has been given yet, all that the
   * kernel holds of it too.
   */
  hold(): Buffer {
    if (this.#stopped) return Buffer.alloc(0);
    this.#held = true;
    this.#watch.change(0);
    const parts = [this.#pending];
    for (let part = this.#readOnce(); part.length > 0; part = this.#readOnce()) parts.push(part);
    this.#pending = Buffer.concat(parts);
    return this.#pending;
  }

  /** Goes on; with what was held, or, where somebody else has that now, without it. */
  release(what: 'copy' | 'drop'): void {
    if (!this.#held) return;
    this.#held = false;
    if (what === 'drop') this.#pending = Buffer.alloc(0);
    this.#goOn();
  }

  #goOn(): void {
    if (this.#stopped) return;
    this.#flush();
    this.#readOn();
  }

  /** Reads again, once nothing is pending. */
  #readOn(): void {
    if (this.#pending.length > 0 || this.#stopped || this.#held) return;
    if (this.#onFinished) this.#copyRest();
    else this.#watch.change(READABLE);
  }

  /**
   * The writer is known to be gone: copies what it has left, as the output takes it, then stops and calls `onFinished`
   * instead of `onEnd`. That is at once, unless the reader of the output lags behind.
   */
  finish(onFinished: () => void): void {
    if (this.#stopped) {
      onFinished();
      return;
    }
    this.#onFinished = onFinished;
    this.#copyRest();
  }

  #copyRest(): void {
    while (!this.#stopped && !this.#held && this.#pending.length === 0) if (!this.#copyOnce()) this.#end();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#watch.close();
    this.#output?.close();
  }

  #copy(): void {
    if (this.#pending.length === 0) this.#copyOnce();
  }

  /** One read and write. @returns false when nothing more can be had now. */
  #copyOnce(): boolean {
    const result = this.kernel.run(this.#read.program);
    const count = result.get(this.#read.count);
    if (count === EAGAIN) return false;
    // EIO is how a pty's master says that its last slave is closed (pty(7)).
    if (count <= 0) {
      this.#end();
      return false;
    }
    this.#pending = Buffer.from(result.at(this.#read.buffer, count));
    this.#flush();
    return true;
  }

  /** What can be had now, if anything. */
  #readOnce(): Buffer {
    const result = this.kernel.run(this.#read.program);
    const count = result.get(this.#read.count);
    return count > 0 ? Buffer.from(result.at(this.#read.buffer, count)) : Buffer.alloc(0);
  }

  #flush(): void {
    while (this.#pending.length > 0 && !this.#held) {
      const p = new ProgramBuilder();
      const count = p.slot('count');
      p.call('write', [this.to, p.bytes(this.#pending), this.#pending.length], {
        out: count,
        tolerate: 'all',
        retry: true,
      });
      const written = this.kernel.run(p.build()).get(count);
      if (written === EAGAIN) {
        this.#awaitWritable();
        return;
      }
      if (written < 0) {
        this.#end();
        return;
      }
      this.#pending = this.#pending.subarray(written);
    }
  }

  #awaitWritable(): void {
    if (this.#output) return;
    this.#watch.change(0);
    this.#output = this.kernel.watch(this.to, WRITABLE, () => {
      this.#output?.close();
      this.#output = undefined;
      this.#goOn();
    });
  }

  #end(): void {
    if (this.#stopped) return;
    this.stop();
    (this.#onFinished ?? this.onEnd)();
  }
}

/** FIONBIO (ioctl(2)) sets O_NONBLOCK and leaves the other flags of the open file alone. */
function setNonBlocking(kernel: Kernel, fd: number): void {
  const FIONBIO = 0x5421;
  const p = new ProgramBuilder();
  const on = p.space(4);
  p.setU32(on, 1);
  p.step('making an output non-blocking').call('ioctl', [fd, FIONBIO, on]);
  kernel.run(p.build());
}
