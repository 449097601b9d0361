/** The client: calls over one connection, any number at a time. */
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { CallLimits, checkLimits, timeoutNanoOf } from './call-limits';
import type { CallOptions } from './call-limits';
import { StreamCall } from './client-stream';
import type { BidiStreamCall, ClientStreamCall, ResponseStream } from './client-stream';
import { decodeResponse, encodeRequest } from './codec';
import { Connection } from './connection';
import type { ConnectionOwner } from './connection';
import { Flag, HEADER_LENGTH, MessageType, oversizeError } from './frame';
import type { FrameHeader } from './frame';
import { metadataEntries } from './metadata';
import { decodeWith, encodeWith } from './method';
import type { Method, MethodName } from './method';
import { messageOf, TtrpcError } from './status';
import { DEFAULT_STALL_TIMEOUT_MS } from './stream';

const MAX_STREAM_ID = 0xffff_ffff;
const NO_BYTES = new Uint8Array(0);

export interface ClientOptions {
  /**
   * Milliseconds that a full stream of responses may stay unread, which stops the other calls too, before it fails with
   * `STREAM_FULL`. Default 1000; Infinity: as long as it takes.
   */
  readonly stallTimeoutMs?: number;
}

export interface ConnectOptions extends ClientOptions {
  /** Milliseconds until connecting fails; default: no limit. */
  readonly connectTimeoutMs?: number;
}

/** A call that waits for frames. */
interface PendingCall {
  onFrame(header: FrameHeader, payload: Buffer): void;
  fail(error: TtrpcError): void;
}

/** How a streaming call begins. */
interface StreamStart<Req> {
  /** Absent for a streaming client, whose requests come as data. */
  readonly request?: { readonly message: Req };
  readonly streamingServer: boolean;
}

/**
 * A client on one connection, which it owns: `close` ends it, and when it is lost the client is of no more use.
 *
 * Every error is a {@link TtrpcError}. A call whose error is `CONNECTION_CLOSED` may or may not have taken effect.
 */
export class Client {
  /** Resolves when the connection is gone, with the reason. Never rejects. */
  readonly closed: Promise<TtrpcError>;
  private readonly connection: Connection;
  private readonly pending = new Map<number, PendingCall>();
  private readonly stallTimeoutMs: number;
  private readonly socketClosed: Promise<void>;
  private nextStreamId = 1;

  /** Wraps a connected stream, such as a `net.Socket`. Nobody else may read from it or write to it any more. */
  constructor(socket: Duplex, options: ClientOptions = {}) {
    this.stallTimeoutMs = options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS;
    let onClose!: (error: TtrpcError) => void;
    let onSocketClosed!: () => void;
    this.closed = new Promise((resolve) => (onClose = resolve));
    this.socketClosed = new Promise((resolve) => (onSocketClosed = resolve));
    const owner: ConnectionOwner = {
      onFrame: (header, payload) => {
        this.callOf(header)?.onFrame(header, payload);
      },
      onOversize: (header) => {
        this.callOf(header)?.fail(oversizeError(header.length));
      },
      onClose: (error) => {
        for (const call of this.pending.values()) call.fail(closedError(error));
        onClose(error);
      },
      onSocketClosed,
    };
    this.connection = new Connection(socket, owner, { holdReadsWhileBlocked: false });
  }

  /** Connects to the unix socket at `path`. Rejects with `CONNECTION_FAILED`, with the system's error as cause. */
  static connect(path: string, options: ConnectOptions = {}): Promise<Client> {
    return new Promise((resolve, reject) => {
      const { connectTimeoutMs } = options;
      const socket = connect({ path });
      const fail = (cause: Error): void => {
        clearTimeout(timer);
        socket.destroy();
        reject(new TtrpcError('CONNECTION_FAILED', `cannot connect to ${path}: ${cause.message}`, { cause }));
      };
      const timer =
        connectTimeoutMs === undefined
          ? undefined
          : setTimeout(() => {
              fail(new Error(`no answer within ${connectTimeoutMs} ms`));
            }, connectTimeoutMs);
      socket.once('error', fail);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.off('error', fail);
        resolve(new Client(socket, options));
      });
    });
  }

  /**
   * Calls a unary method. The request leaves in the order of the calls; its encoded bytes must not be changed before
   * the call is done.
   *
   * Rejects with the server's status, or with `CONNECTION_CLOSED`, `DEADLINE_EXCEEDED`, `CANCELLED`,
   * `RESOURCE_EXHAUSTED` (a message over 4 MiB; the connection stays usable), `INVALID_ARGUMENT` (the request cannot
   * be encoded) or `INTERNAL` (the answer cannot be decoded).
   */
  async call<Req, Res>(method: Method<Req, Res>, request: Req, options: CallOptions = {}): Promise<Res> {
    const payload = encodeWith(method.request, request, 'INVALID_ARGUMENT');
    const streamId = this.sendRequest(method, { flags: 0, payload }, options);
    const bytes = await new Promise<Uint8Array>((resolve, reject) => {
      const name = nameOf(method);
      const settle = (): void => {
        limits.release();
        this.pending.delete(streamId);
      };
      const fail = (error: TtrpcError): void => {
        settle();
        reject(error);
      };
      const limits = new CallLimits(options, name, fail);
      this.pending.set(streamId, {
        fail,
        onFrame: (header, payload) => {
          try {
            const response = readUnaryResponse(name, header, payload);
            settle();
            resolve(response);
          } catch (error) {
            fail(error as TtrpcError);
          }
        },
      });
    });
    return decodeWith(method.response, bytes, 'INTERNAL');
  }

  /**
   * Calls a method with many responses. Throws what `call` rejects with before the request is sent; later errors come
   * out of the stream.
   */
  serverStream<Req, Res>(method: Method<Req, Res>, request: Req, options: CallOptions = {}): ResponseStream<Res> {
    return this.startStream(method, { request: { message: request }, streamingServer: true }, options);
  }

  /** Calls a method with many requests and one response. Throws as {@link serverStream} does. */
  clientStream<Req, Res>(method: Method<Req, Res>, options: CallOptions = {}): ClientStreamCall<Req, Res> {
    return this.startStream(method, { streamingServer: false }, options);
  }

  /** Calls a method with many requests and many responses. Throws as {@link serverStream} does. */
  bidiStream<Req, Res>(method: Method<Req, Res>, options: CallOptions = {}): BidiStreamCall<Req, Res> {
    return this.startStream(method, { streamingServer: true }, options);
  }

  /**
   * Closes the connection at once: pending calls fail with `CONNECTION_CLOSED`, and so does every later one. Resolves
   * when the socket is closed. May be called again.
   */
  async close(): Promise<void> {
    this.connection.close(new TtrpcError('CONNECTION_CLOSED', 'the client was closed'));
    await this.socketClosed;
  }

  private startStream<Req, Res>(
    method: Method<Req, Res>,
    start: StreamStart<Req>,
    options: CallOptions,
  ): StreamCall<Req, Res> {
    const { request, streamingServer } = start;
    const payload = request === undefined ? NO_BYTES : encodeWith(method.request, request.message, 'INVALID_ARGUMENT');
    const flags = request === undefined ? Flag.RemoteOpen : Flag.RemoteClosed;
    const streamId = this.sendRequest(method, { flags, payload }, options);
    const call = new StreamCall<Req, Res>({
      connection: this.connection,
      streamId,
      method,
      streamingClient: request === undefined,
      streamingServer,
      stallTimeoutMs: this.stallTimeoutMs,
      onEnd: () => this.pending.delete(streamId),
    });
    call.limits = new CallLimits(options, nameOf(method), (error) => {
      call.abort(error);
    });
    this.pending.set(streamId, call);
    return call;
  }

  /** Sends a request and returns its stream id. Throws if it cannot be sent; nothing is on the wire then. */
  private sendRequest(method: MethodName, frame: { flags: number; payload: Uint8Array }, options: CallOptions): number {
    const { closeError } = this.connection;
    if (closeError !== undefined) throw closedError(closeError);
    checkLimits(options, nameOf(method));
    const streamId = this.nextStreamId;
    if (streamId > MAX_STREAM_ID) {
      throw new TtrpcError('RESOURCE_EXHAUSTED', 'all stream ids of this connection are used up; connect again');
    }
    const message = {
      service: method.service,
      method: method.method,
      payload: frame.payload,
      timeoutNano: timeoutNanoOf(options),
      metadata: metadataEntries(options.metadata),
    };
    const parts = encodeRequest(message, HEADER_LENGTH);
    this.connection.send({ streamId, type: MessageType.Request, flags: frame.flags, parts });
    this.nextStreamId += 2;
    return streamId;
  }

  /** The call that a frame is for; undefined if it was given up. Throws if no request had that stream id. */
  private callOf(header: FrameHeader): PendingCall | undefined {
    const { streamId, type } = header;
    if (type === MessageType.Request) throw new TtrpcError('PROTOCOL_ERROR', 'a server sent a request');
    if (streamId % 2 !== 1 || streamId >= this.nextStreamId) {
      throw new TtrpcError('PROTOCOL_ERROR', `a server sent stream ${streamId}, which was not opened`);
    }
    return this.pending.get(streamId);
  }
}

function nameOf(method: MethodName): string {
  return `${method.service}/${method.method}`;
}

/** An error of its own for each call, so that each has the stack of its caller where Node provides it. */
function closedError(reason: TtrpcError): TtrpcError {
  return new TtrpcError('CONNECTION_CLOSED', reason.message, { cause: reason });
}

/** The payload of a unary answer. Throws the server's status, or `INTERNAL` for an answer that is none. */
function readUnaryResponse(name: string, header: FrameHeader, payload: Buffer): Uint8Array {
  if (header.type !== MessageType.Response) {
    throw new TtrpcError('INTERNAL', `${name} is unary but got stream data as its answer`);
  }
  let response;
  try {
    response = decodeResponse(payload);
  } catch (error) {
    throw new TtrpcError('INTERNAL', `the answer of ${name} is malformed: ${messageOf(error)}`, { cause: error });
  }
  if (response.status !== undefined && response.status.code !== 0) throw TtrpcError.fromStatus(response.status);
  return response.payload;
}
