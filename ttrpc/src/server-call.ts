/** One call on the server: runs the handler, and sends its answer or its stream of answers, once and in order. */
import { encodeData, encodeResponse } from './codec';
import type { RequestMessage, StatusMessage } from './codec';
import type { Connection } from './connection';
import { Flag, HEADER_LENGTH, MessageType } from './frame';
import { Metadata } from './metadata';
import { decodeWith, encodeWith } from './method';
import type { CallContext, MethodHandler } from './method';
import { statusOfError, TtrpcError } from './status';
import { iterateQueue, MAX_TIMER_MS, ReceiveQueue } from './stream';

const NANO_PER_MS = 1_000_000;
const NO_BYTES = new Uint8Array(0);

/** Sends the final frame of a call: an error if there is a status, else the answer. */
export function sendResponse(
  connection: Connection,
  streamId: number,
  answer: { status: StatusMessage | undefined; payload?: Uint8Array },
): void {
  const response = { status: answer.status, payload: answer.payload ?? NO_BYTES };
  connection.send({ streamId, type: MessageType.Response, flags: 0, parts: encodeResponse(response, HEADER_LENGTH) });
}

/** Sends the final frame of a call that failed. An error too large to send is replaced by one that says so. */
export function sendError(connection: Connection, streamId: number, error: unknown): void {
  try {
    sendResponse(connection, streamId, { status: statusOfError(error) });
  } catch (oversize) {
    sendResponse(connection, streamId, { status: statusOfError(oversize) });
  }
}

export interface ServerCallOptions {
  readonly connection: Connection;
  readonly streamId: number;
  readonly request: RequestMessage;
  readonly handler: MethodHandler;
  readonly stallTimeoutMs: number;
  /** Called once: the final frame is sent, or never will be. */
  readonly onAnswered: () => void;
  /** Called once: the handler is done. Often before `onAnswered`, but later for a call that was cancelled. */
  readonly onSettled: () => void;
}

export class ServerCall {
  private readonly context: HandlerContext;
  /** The requests of a streaming client; undefined for the kinds with one request. */
  private readonly queue: ReceiveQueue | undefined;
  private responses: AsyncIterator<unknown> | undefined;
  private deadlineTimer: NodeJS.Timeout | undefined;
  private remoteClosed = false;
  private answered = false;

  constructor(private readonly options: ServerCallOptions) {
    const { connection, handler, request, stallTimeoutMs } = options;
    this.context = new HandlerContext(request);
    if (handler.kind === 'clientStream' || handler.kind === 'bidiStream') {
      const onStall = (error: TtrpcError): void => {
        this.cancel(error);
      };
      this.queue = new ReceiveQueue({ gate: connection, stallTimeoutMs, onStall });
    }
  }

  /** Runs the handler. `remoteOpen` says whether data frames follow. Never throws. */
  start(remoteOpen: boolean): void {
    const { payload, timeoutNano } = this.options.request;
    // A streaming client has no message in its request as a rule, but may send its first one there.
    if (payload.length > 0) this.queue?.push(payload);
    if (!remoteOpen) this.closeRemote();
    if (timeoutNano !== 0) this.startDeadline(timeoutNano / NANO_PER_MS);
    if (this.answered) {
      this.options.onSettled();
      return;
    }
    void this.run()
      .catch((error: unknown) => {
        this.answerError(error);
        this.stopResponses();
      })
      .then(this.options.onSettled);
  }

  /** Takes a data frame. */
  onData(flags: number, payload: Uint8Array): void {
    if ((flags & Flag.NoData) === 0) {
      if (this.queue === undefined || this.remoteClosed) {
        this.cancel(new TtrpcError('INVALID_ARGUMENT', 'data was sent on a stream that takes none, or no more'));
        return;
      }
      this.queue.push(payload);
    }
    if ((flags & Flag.RemoteClosed) !== 0) this.closeRemote();
  }

  /** Answers with an error while the handler may still be running, and tells it through its signal and iterables. */
  cancel(error: TtrpcError): void {
    if (this.answered) return;
    this.answerError(error);
    this.context.abort(error);
    this.stopResponses();
  }

  private closeRemote(): void {
    this.remoteClosed = true;
    this.queue?.end();
  }

  private startDeadline(timeoutMs: number): void {
    const expire = (): void => {
      this.cancel(new TtrpcError('DEADLINE_EXCEEDED', `the call was not done within ${timeoutMs} ms`));
    };
    if (timeoutMs < 0) expire();
    else if (timeoutMs <= MAX_TIMER_MS) this.deadlineTimer = setTimeout(expire, timeoutMs);
  }

  private async run(): Promise<void> {
    const { handler } = this.options;
    switch (handler.kind) {
      case 'unary':
        this.answer(await handler.handle(this.request(), this.context));
        break;
      case 'clientStream':
        this.answer(await handler.handle(this.requests(), this.context));
        break;
      case 'serverStream':
        await this.sendAll(handler.handle(this.request(), this.context));
        break;
      case 'bidiStream':
        await this.sendAll(handler.handle(this.requests(), this.context));
        break;
    }
  }

  private request(): unknown {
    const { handler, request } = this.options;
    return decodeWith(handler.types.request, request.payload, 'INVALID_ARGUMENT');
  }

  private requests(): AsyncIterable<unknown> {
    const queue = this.queue!;
    const codec = this.options.handler.types.request;
    const iterator = iterateQueue(queue, {
      decode: (bytes) => decodeWith(codec, bytes, 'INVALID_ARGUMENT'),
      onReturn: () => {
        queue.abort(new TtrpcError('STREAM_CLOSED', 'the requests are not read any more'));
      },
    });
    return { [Symbol.asyncIterator]: () => iterator };
  }

  /** Sends each response as the socket takes it, then the end of the stream. */
  private async sendAll(responses: AsyncIterable<unknown>): Promise<void> {
    const { connection, handler, streamId } = this.options;
    const iterator = responses[Symbol.asyncIterator]();
    this.responses = iterator;
    while (!this.answered) {
      const next = await iterator.next();
      if (next.done === true) {
        this.responses = undefined;
        break;
      }
      if (this.isAnswered()) break;
      const bytes = encodeWith(handler.types.response, next.value, 'INTERNAL');
      const parts = encodeData(bytes, HEADER_LENGTH);
      connection.send({ streamId, type: MessageType.Data, flags: 0, parts });
      await connection.whenWritable();
    }
    if (this.isAnswered()) return;
    const parts = encodeData(NO_BYTES, HEADER_LENGTH);
    connection.send({ streamId, type: MessageType.Data, flags: Flag.RemoteClosed | Flag.NoData, parts });
    this.finish();
  }

  private answer(response: unknown): void {
    if (this.answered) return;
    const { connection, handler, streamId } = this.options;
    const payload = encodeWith(handler.types.response, response, 'INTERNAL');
    sendResponse(connection, streamId, { status: undefined, payload });
    this.finish();
  }

  private answerError(error: unknown): void {
    if (this.answered) return;
    sendError(this.options.connection, this.options.streamId, error);
    this.finish();
    // What the handler may still be waiting for does not come any more.
    this.queue?.abort(error instanceof TtrpcError ? error : new TtrpcError('CANCELLED', 'the call has ended'));
  }

  private finish(): void {
    this.answered = true;
    clearTimeout(this.deadlineTimer);
    this.options.onAnswered();
  }

  /** A plain read would be taken for constant across an `await` by the type checker. */
  private isAnswered(): boolean {
    return this.answered;
  }

  /** Runs the `finally` blocks of a generator that is not asked for more. What they throw has nobody to go to. */
  private stopResponses(): void {
    const iterator = this.responses;
    this.responses = undefined;
    if (iterator?.return === undefined) return;
    void (async () => iterator.return?.())().catch(() => undefined);
  }
}

/** The context that a handler sees. The signal is made when first asked for, as most handlers never do. */
class HandlerContext implements CallContext {
  readonly service: string;
  readonly method: string;
  readonly metadata: Metadata;
  readonly deadlineMs: number | undefined;
  private controller: AbortController | undefined;
  private abortError: TtrpcError | undefined;

  constructor(request: RequestMessage) {
    this.service = request.service;
    this.method = request.method;
    this.metadata = new Metadata(request.metadata);
    this.deadlineMs = request.timeoutNano === 0 ? undefined : Date.now() + request.timeoutNano / NANO_PER_MS;
  }

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.abortError !== undefined) this.controller.abort(this.abortError);
    }
    return this.controller.signal;
  }

  abort(error: TtrpcError): void {
    this.abortError = error;
    this.controller?.abort(error);
  }
}
