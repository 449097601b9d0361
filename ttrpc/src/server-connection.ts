/** One connection of a server: routes frames to calls, and closes the connection of a peer that breaks the protocol. */
import type { Duplex } from 'node:stream';
import { decodeRequest } from './codec';
import type { RequestMessage } from './codec';
import { Connection } from './connection';
import type { ConnectionOwner } from './connection';
import { Flag, MessageType, oversizeError } from './frame';
import type { FrameHeader } from './frame';
import type { MethodHandler } from './method';
import { ServerCall, sendError } from './server-call';
import { messageOf, TtrpcError } from './status';

/** What a connection asks of its server. */
export interface ServerConnectionHost {
  readonly stallTimeoutMs: number;
  /** Throws `UNIMPLEMENTED` if there is no such service or method. */
  findHandler(service: string, method: string): MethodHandler;
  /** A handler starts. */
  onHandlerStart(): void;
  onHandlerEnd(): void;
  /** The connection does not take calls any more. */
  onClose(connection: ServerConnection, error: TtrpcError): void;
  /** The socket is gone. */
  onSocketClosed(connection: ServerConnection): void;
}

export class ServerConnection implements ConnectionOwner {
  private readonly connection: Connection;
  /** Calls without a final answer, by stream id. */
  private readonly calls = new Map<number, ServerCall>();
  private lastStreamId = 0;
  private draining = false;

  constructor(
    socket: Duplex,
    private readonly host: ServerConnectionHost,
  ) {
    this.connection = new Connection(socket, this, { holdReadsWhileBlocked: true });
  }

  /** Refuses further calls with `UNAVAILABLE`, and closes the connection when the running ones are answered. */
  drain(): void {
    this.draining = true;
    this.closeIfDrained();
  }

  /** Closes the connection at once; running calls are cancelled. */
  close(error: TtrpcError): void {
    this.connection.close(error);
  }

  onFrame(header: FrameHeader, payload: Buffer): void {
    if (header.type === MessageType.Request) {
      this.acceptStreamId(header);
      this.onRequest(header, payload);
    } else {
      this.activeCall(header)?.onData(header.flags, payload);
    }
  }

  onOversize(header: FrameHeader): void {
    const error = oversizeError(header.length);
    if (header.type === MessageType.Request) {
      this.acceptStreamId(header);
      sendError(this.connection, header.streamId, error);
    } else {
      this.activeCall(header)?.cancel(error);
    }
  }

  onClose(error: TtrpcError): void {
    for (const call of this.calls.values()) call.cancel(error);
    this.host.onClose(this, error);
  }

  onSocketClosed(): void {
    this.host.onSocketClosed(this);
  }

  /** Client streams are odd and increase. After a break of that, ids cannot be matched any more: the peer is let go. */
  private acceptStreamId(header: FrameHeader): void {
    const { streamId } = header;
    if (streamId % 2 === 1 && streamId > this.lastStreamId) {
      this.lastStreamId = streamId;
      return;
    }
    const rule = streamId % 2 === 1 ? `is not above the last one, ${this.lastStreamId}` : 'is not odd';
    const message = `request with a wrong stream id: ${streamId} ${rule}`;
    sendError(this.connection, streamId, new TtrpcError('INVALID_ARGUMENT', message));
    throw new TtrpcError('PROTOCOL_ERROR', message);
  }

  /** The call that a data frame is for; undefined if it is over, which a client may learn too late. */
  private activeCall(header: FrameHeader): ServerCall | undefined {
    const { streamId, type } = header;
    if (type !== MessageType.Data) throw new TtrpcError('PROTOCOL_ERROR', 'a client sent a response');
    if (streamId % 2 !== 1 || streamId > this.lastStreamId) {
      throw new TtrpcError('PROTOCOL_ERROR', `data on stream ${streamId}, which was not opened`);
    }
    return this.calls.get(streamId);
  }

  private onRequest(header: FrameHeader, payload: Buffer): void {
    const { streamId, flags } = header;
    let request: RequestMessage;
    let handler: MethodHandler;
    try {
      request = this.readRequest(payload);
      handler = this.host.findHandler(request.service, request.method);
    } catch (error) {
      sendError(this.connection, streamId, error);
      return;
    }
    const call = new ServerCall({
      connection: this.connection,
      streamId,
      request,
      handler,
      stallTimeoutMs: this.host.stallTimeoutMs,
      onAnswered: () => {
        this.calls.delete(streamId);
        this.closeIfDrained();
      },
      onSettled: () => {
        this.host.onHandlerEnd();
      },
    });
    this.calls.set(streamId, call);
    this.host.onHandlerStart();
    call.start((flags & Flag.RemoteOpen) !== 0);
  }

  private readRequest(payload: Buffer): RequestMessage {
    if (this.draining) throw new TtrpcError('UNAVAILABLE', 'the server is shutting down');
    try {
      return decodeRequest(payload);
    } catch (error) {
      throw new TtrpcError('INVALID_ARGUMENT', `the request cannot be decoded: ${messageOf(error)}`, { cause: error });
    }
  }

  private closeIfDrained(): void {
    if (!this.draining || this.calls.size > 0) return;
    this.connection.closeAfterFlush(new TtrpcError('CONNECTION_CLOSED', 'the server was shut down'));
  }
}
