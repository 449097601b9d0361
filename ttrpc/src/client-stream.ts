/** The client's end of a streaming call. */
import type { CallLimits } from './call-limits';
import { decodeResponse, encodeData } from './codec';
import type { Connection } from './connection';
import { Flag, HEADER_LENGTH, MessageType } from './frame';
import type { FrameHeader } from './frame';
import { decodeWith, encodeWith } from './method';
import type { Method } from './method';
import { messageOf, TtrpcError } from './status';
import { iterateQueue, ReceiveQueue } from './stream';

/** The responses of a streaming server. */
export interface ResponseStream<Res> extends AsyncIterable<Res, undefined> {
  /**
   * The next response; undefined at the end. Rejects with the call's error. Iterating does the same, and leaving the
   * loop early cancels the call.
   */
  receive(): Promise<Res | undefined>;
  /** Gives the call up: what waits for it rejects with `CANCELLED`. Does nothing once it has ended. */
  cancel(): void;
}

/** The requests of a streaming client. */
export interface RequestStream<Req> {
  /**
   * Sends a request. Resolves when the socket takes more: awaiting it is what keeps memory small if the server reads
   * slowly. Rejects with the call's error if it has failed, `STREAM_CLOSED` if it has ended or was closed by this side,
   * `RESOURCE_EXHAUSTED` for a message over the limit (the call goes on), `INVALID_ARGUMENT` if it cannot be encoded.
   */
  send(request: Req): Promise<void>;
  /** Gives the call up: what waits for it rejects with `CANCELLED`. Does nothing once it has ended. */
  cancel(): void;
}

/** A call with many requests and one response. */
export interface ClientStreamCall<Req, Res> extends RequestStream<Req> {
  /** Ends the requests and waits for the response. Rejects with the call's error. To be called once. */
  finish(): Promise<Res>;
}

/** A call with many requests and many responses. */
export interface BidiStreamCall<Req, Res> extends RequestStream<Req>, ResponseStream<Res> {
  /** Ends the requests; responses may still come. */
  closeSend(): void;
}

export interface StreamCallOptions<Req, Res> {
  readonly connection: Connection;
  readonly streamId: number;
  readonly method: Method<Req, Res>;
  readonly streamingClient: boolean;
  readonly streamingServer: boolean;
  readonly stallTimeoutMs: number;
  /** Called once, when no more frames are expected. */
  readonly onEnd: () => void;
}

/** All kinds of streaming call; the client returns it as the interface that fits the kind. */
export class StreamCall<Req, Res> implements BidiStreamCall<Req, Res>, ClientStreamCall<Req, Res> {
  /** Set by the client as soon as the request is sent. */
  limits: CallLimits | undefined;
  private readonly queue: ReceiveQueue;
  private localClosed: boolean;
  private ended = false;
  private error: TtrpcError | undefined;

  constructor(private readonly options: StreamCallOptions<Req, Res>) {
    this.localClosed = !options.streamingClient;
    this.queue = new ReceiveQueue({
      gate: options.connection,
      stallTimeoutMs: options.stallTimeoutMs,
      onStall: (error) => {
        this.closeSend();
        this.end(error);
      },
    });
  }

  async send(request: Req): Promise<void> {
    const { connection, method } = this.options;
    this.throwIfFailed();
    if (this.ended) throw new TtrpcError('STREAM_CLOSED', `${this.name} has ended`);
    if (this.localClosed) throw new TtrpcError('STREAM_CLOSED', `the requests of ${this.name} were ended before`);
    const bytes = encodeWith(method.request, request, 'INVALID_ARGUMENT');
    this.sendData(0, bytes);
    const writable = connection.whenWritable();
    if (writable === undefined) return;
    await writable;
    this.throwIfFailed();
  }

  closeSend(): void {
    if (this.localClosed || this.ended) return;
    this.localClosed = true;
    this.sendData(Flag.RemoteClosed | Flag.NoData, new Uint8Array(0));
  }

  async finish(): Promise<Res> {
    this.closeSend();
    const response = await this.queue.take();
    if (response !== undefined) return this.decode(response);
    throw new TtrpcError('INTERNAL', `${this.name} was ended by the server without a response`);
  }

  async receive(): Promise<Res | undefined> {
    const bytes = await this.queue.take();
    return bytes === undefined ? undefined : this.decode(bytes);
  }

  cancel(): void {
    this.abort(new TtrpcError('CANCELLED', `${this.name} was cancelled by the caller`));
  }

  [Symbol.asyncIterator](): AsyncIterator<Res, undefined> {
    return iterateQueue(this.queue, {
      decode: (bytes) => this.decode(bytes),
      onReturn: () => {
        this.cancel();
      },
    });
  }

  /** Takes a frame of this stream. */
  onFrame(header: FrameHeader, payload: Buffer): void {
    if (header.type === MessageType.Response) this.onResponse(payload);
    else this.onData(header, payload);
  }

  /** Ends the call with an error of this side: at once, and telling the server that no more requests come. */
  abort(error: TtrpcError): void {
    if (this.ended) return;
    this.closeSend();
    this.end(error);
    this.queue.abort(error);
  }

  /** Ends the call with an error that is seen after the responses received before it. */
  fail(error: TtrpcError): void {
    if (!this.ended) this.end(error);
  }

  private throwIfFailed(): void {
    if (this.error !== undefined) throw this.error;
  }

  private get name(): string {
    return `${this.options.method.service}/${this.options.method.method}`;
  }

  private onResponse(payload: Buffer): void {
    const { streamingServer } = this.options;
    let response;
    try {
      response = decodeResponse(payload);
    } catch (error) {
      this.fail(new TtrpcError('INTERNAL', `the answer of ${this.name} is malformed: ${messageOf(error)}`));
      return;
    }
    if (response.status !== undefined && response.status.code !== 0) {
      this.fail(TtrpcError.fromStatus(response.status));
      return;
    }
    // A streaming server ends with an empty answer, or with its only one; an answer without payload is the former.
    if (!streamingServer || response.payload.length > 0) this.queue.push(response.payload);
    this.end(undefined);
  }

  private onData(header: FrameHeader, payload: Buffer): void {
    if (!this.options.streamingServer) {
      this.fail(new TtrpcError('INTERNAL', `${this.name} got stream data in place of its one answer`));
      return;
    }
    if ((header.flags & Flag.NoData) === 0) this.queue.push(payload);
    if ((header.flags & Flag.RemoteClosed) !== 0) this.end(undefined);
  }

  private end(error: TtrpcError | undefined): void {
    this.ended = true;
    this.error = error;
    if (error === undefined) this.queue.end();
    else this.queue.fail(error);
    this.limits?.release();
    this.options.onEnd();
  }

  private decode(bytes: Uint8Array): Res {
    return decodeWith(this.options.method.response, bytes, 'INTERNAL');
  }

  private sendData(flags: number, bytes: Uint8Array): void {
    const { connection, streamId } = this.options;
    connection.send({ streamId, type: MessageType.Data, flags, parts: encodeData(bytes, HEADER_LENGTH) });
  }
}
