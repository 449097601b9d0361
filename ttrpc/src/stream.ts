/**
 * The received messages of one stream, between the connection that brings them and the code that takes them.
 *
 * ttrpc has no flow control per stream. A stream that is not read therefore stops the whole connection, and if that
 * lasts too long it is given up, so that it cannot block the other calls for good.
 */
import { TtrpcError } from './status';

/** Messages that one stream may have waiting before reading from the connection stops. */
export const MAX_QUEUED_MESSAGES = 64;

/** Bytes that one stream may have waiting before reading from the connection stops. */
export const MAX_QUEUED_BYTES = 4 * 1024 * 1024;

/** How long a full stream may stop the connection before it is given up, in milliseconds. */
export const DEFAULT_STALL_TIMEOUT_MS = 1000;

/** The longest delay that Node's timers take, in milliseconds (24.8 days). */
export const MAX_TIMER_MS = 0x7fff_ffff;

/** What a queue needs of its connection. */
export interface ReadGate {
  holdReads(): void;
  releaseReads(): void;
}

export interface ReceiveQueueOptions {
  readonly gate: ReadGate;
  /** Milliseconds that the queue may stay full; Infinity: as long as it takes. */
  readonly stallTimeoutMs: number;
  /** Called when the queue was full for too long. It has failed by then. */
  readonly onStall: (error: TtrpcError) => void;
}

interface Waiter {
  resolve(message: Uint8Array | undefined): void;
  reject(error: TtrpcError): void;
}

/** First in, first out. Ends in one of three ways: `end`, `fail` (after what is queued) or `abort` (at once). */
export class ReceiveQueue {
  private messages: Uint8Array[] = [];
  private bytes = 0;
  private readonly waiters: Waiter[] = [];
  private finished = false;
  private error: TtrpcError | undefined;
  private holding = false;
  private stallTimer: NodeJS.Timeout | undefined;

  constructor(private readonly options: ReceiveQueueOptions) {}

  /** True once no more messages can come in. */
  get isFinished(): boolean {
    return this.finished;
  }

  /** Adds a message; ignored once finished. */
  push(message: Uint8Array): void {
    if (this.finished) return;
    const waiter = this.waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve(message);
      return;
    }
    this.messages.push(message);
    this.bytes += message.length;
    if (this.isFull() && !this.holding) this.hold();
  }

  /** Takes the next message; undefined at the end. Rejects with the error of `fail` or `abort`. */
  take(): Promise<Uint8Array | undefined> {
    const message = this.messages.shift();
    if (message !== undefined) {
      this.bytes -= message.length;
      if (!this.isFull()) this.release();
      return Promise.resolve(message);
    }
    if (this.error !== undefined) return Promise.reject(this.error);
    if (this.finished) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => this.waiters.push({ resolve, reject }));
  }

  /** No more messages come. */
  end(): void {
    this.finish();
    for (const waiter of this.waiters.splice(0)) waiter.resolve(undefined);
  }

  /** No more messages come, and that is an error, seen after the queued messages are taken. */
  fail(error: TtrpcError): void {
    if (!this.finished) this.error = error;
    this.finish();
    for (const waiter of this.waiters.splice(0)) waiter.reject(error);
  }

  /** Drops the queued messages and fails, also if the end has been received but not taken. */
  abort(error: TtrpcError): void {
    this.messages = [];
    this.bytes = 0;
    this.error ??= error;
    this.fail(error);
  }

  private isFull(): boolean {
    return this.messages.length >= MAX_QUEUED_MESSAGES || this.bytes >= MAX_QUEUED_BYTES;
  }

  private hold(): void {
    const { gate, stallTimeoutMs } = this.options;
    this.holding = true;
    gate.holdReads();
    if (stallTimeoutMs > MAX_TIMER_MS) return;
    this.stallTimer = setTimeout(() => {
      const message = `a full stream was not read for ${stallTimeoutMs} ms and was given up`;
      const error = new TtrpcError('STREAM_FULL', message);
      this.fail(error);
      this.options.onStall(error);
    }, stallTimeoutMs);
  }

  private release(): void {
    if (!this.holding) return;
    this.holding = false;
    clearTimeout(this.stallTimer);
    this.options.gate.releaseReads();
  }

  private finish(): void {
    this.finished = true;
    this.release();
  }
}

/** How an iterator over a {@link ReceiveQueue} makes messages, and what happens when its user stops early. */
export interface IteratorOptions<T> {
  decode(bytes: Uint8Array): T;
  onReturn(): void;
}

/** An iterator over the rest of a queue. */
export function iterateQueue<T>(queue: ReceiveQueue, options: IteratorOptions<T>): AsyncIterator<T, undefined> {
  return {
    async next() {
      const bytes = await queue.take();
      return bytes === undefined ? { done: true, value: undefined } : { done: false, value: options.decode(bytes) };
    },
    return() {
      options.onReturn();
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}
