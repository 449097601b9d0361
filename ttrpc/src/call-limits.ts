/** What ends a client's call before its answer: a time limit and the caller's signal. */
import type { MetadataInit } from './metadata';
import { TtrpcError } from './status';
import { MAX_TIMER_MS } from './stream';

/** Options of every kind of call. */
export interface CallOptions {
  /**
   * Milliseconds until the call fails with `DEADLINE_EXCEEDED`; default and Infinity: no limit. The server is told, so
   * that it can stop too.
   */
  readonly timeoutMs?: number;
  /** Names and values that go with the request. */
  readonly metadata?: MetadataInit;
  /**
   * Aborting it makes the call fail with `CANCELLED` and the signal's reason as cause. ttrpc has no message for this: a
   * server goes on with the call, unless it was waiting for more messages of a stream.
   */
  readonly signal?: AbortSignal;
}

/** Watches the limits of one call until `release`. Calls `onExceeded` at most once, and never before it is returned. */
export class CallLimits {
  private timer: NodeJS.Timeout | undefined;
  private readonly signal: AbortSignal | undefined;
  private readonly onAbort: (() => void) | undefined;

  constructor(options: CallOptions, what: string, onExceeded: (error: TtrpcError) => void) {
    const { timeoutMs, signal } = options;
    if (timeoutMs !== undefined && timeoutMs <= MAX_TIMER_MS) {
      this.timer = setTimeout(() => {
        onExceeded(deadlineError(what, timeoutMs));
      }, timeoutMs);
    }
    if (signal !== undefined) {
      this.signal = signal;
      this.onAbort = () => {
        onExceeded(cancelError(what, signal));
      };
      signal.addEventListener('abort', this.onAbort, { once: true });
    }
  }

  /** Stops watching. May be called again. */
  release(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.onAbort !== undefined) this.signal?.removeEventListener('abort', this.onAbort);
  }
}

/** Throws if the limits of a call are reached before it begins, or make no sense (`INVALID_ARGUMENT`). */
export function checkLimits(options: CallOptions, what: string): void {
  const { timeoutMs, signal } = options;
  if (timeoutMs !== undefined) {
    if (Number.isNaN(timeoutMs)) throw new TtrpcError('INVALID_ARGUMENT', `${what}: timeoutMs is not a number`);
    if (timeoutMs <= 0) throw deadlineError(what, timeoutMs);
  }
  if (signal?.aborted === true) throw cancelError(what, signal);
}

/** The time limit as a request carries it: nanoseconds, 0 for none. */
export function timeoutNanoOf(options: CallOptions): number {
  const { timeoutMs } = options;
  if (timeoutMs === undefined || timeoutMs > MAX_TIMER_MS) return 0;
  return Math.max(1, Math.round(timeoutMs * 1_000_000));
}

function deadlineError(what: string, timeoutMs: number): TtrpcError {
  return new TtrpcError('DEADLINE_EXCEEDED', `${what} was not done within ${timeoutMs} ms`);
}

function cancelError(what: string, signal: AbortSignal): TtrpcError {
  return new TtrpcError('CANCELLED', `${what} was cancelled by the caller`, { cause: signal.reason });
}
