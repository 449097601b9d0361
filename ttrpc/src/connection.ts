/**
 * One socket with frames on it: what client and server share. Frames out are gathered per turn of the event loop,
 * frames in go to the owner, and reading can be held while something is full.
 */
import type { Duplex } from 'node:stream';
import type { WireParts } from './codec';
import { checkMessageLength, FrameParser, HEADER_LENGTH, writeHeader } from './frame';
import type { FrameSink, MessageType } from './frame';
import { messageOf, TtrpcError } from './status';

/** How long a connection that is being closed may take to write its last frames, in milliseconds. */
const FLUSH_LIMIT_MS = 1000;

/** Who owns a {@link Connection}. Anything thrown from a frame callback closes the connection with that error. */
export interface ConnectionOwner extends FrameSink {
  /** Called once, when the connection is of no use any more. */
  onClose(error: TtrpcError): void;
  /** Called once, after `onClose`, when the socket is gone too and all that could be written is written. */
  onSocketClosed(): void;
}

export interface ConnectionOptions {
  /**
   * Read nothing while the peer does not read. A server wants this, so that a peer that only sends cannot make it
   * gather answers; a client does not, as two sides that both wait to write would wait forever.
   */
  readonly holdReadsWhileBlocked: boolean;
}

/** Owns `socket` from construction on and destroys it when closed. */
export class Connection {
  private readonly parser: FrameParser;
  private corked = false;
  private readHolds = 0;
  private blockedHold = false;
  private drainWaiters: (() => void)[] = [];
  /** Why the connection is closed; undefined while it is open. */
  private closedBy: TtrpcError | undefined;

  constructor(
    private readonly socket: Duplex,
    private readonly owner: ConnectionOwner,
    private readonly options: ConnectionOptions,
  ) {
    this.parser = new FrameParser(owner);
    socket.on('data', (chunk: Buffer) => {
      this.receive(chunk);
    });
    socket.on('drain', () => {
      this.releaseWriters();
    });
    // ttrpc has no half-closed connections: a peer that stops sending is gone (Go's server and client agree).
    socket.on('end', () => {
      this.close(new TtrpcError('CONNECTION_CLOSED', 'the peer closed the connection'));
    });
    socket.on('error', (error) => {
      this.close(new TtrpcError('CONNECTION_CLOSED', `the connection failed: ${messageOf(error)}`, { cause: error }));
    });
    const onSocketClosed = (): void => {
      this.close(new TtrpcError('CONNECTION_CLOSED', 'the connection was closed'));
      owner.onSocketClosed();
    };
    // A socket that was destroyed before may have said so already.
    if (socket.destroyed) process.nextTick(onSocketClosed);
    else socket.on('close', onSocketClosed);
  }

  /** Why the connection is closed; undefined while it is open. */
  get closeError(): TtrpcError | undefined {
    return this.closedBy;
  }

  /**
   * Queues one frame. `parts` begin with room for the header. Does nothing on a closed connection.
   *
   * Throws `RESOURCE_EXHAUSTED`, and sends nothing, if the message is over the limit.
   */
  send(frame: { streamId: number; type: MessageType; flags: number; parts: WireParts }): void {
    const { head, body } = frame.parts;
    const length = head.length - HEADER_LENGTH + (body?.length ?? 0);
    checkMessageLength(length);
    if (this.closedBy !== undefined) return;
    writeHeader(head, { streamId: frame.streamId, type: frame.type, flags: frame.flags, length });
    this.corkForThisTurn();
    this.socket.write(head);
    if (body !== undefined) this.socket.write(body);
    if (this.options.holdReadsWhileBlocked && this.socket.writableNeedDrain && !this.blockedHold) {
      this.blockedHold = true;
      this.holdReads();
    }
  }

  /** Undefined if the socket takes more; else a promise that resolves when it does or the connection is closed. */
  whenWritable(): Promise<void> | undefined {
    if (this.closedBy !== undefined || !this.socket.writableNeedDrain) return undefined;
    return new Promise((resolve) => this.drainWaiters.push(resolve));
  }

  /** Stops reading until {@link releaseReads} was called as often. Frames already read still arrive. */
  holdReads(): void {
    if (this.readHolds++ === 0) this.socket.pause();
  }

  releaseReads(): void {
    if (--this.readHolds === 0 && this.closedBy === undefined) this.socket.resume();
  }

  /** Closes the connection at once, also one that is being flushed, and tells the owner if it was open. */
  close(error: TtrpcError): void {
    const wasOpen = this.markClosed(error);
    this.socket.destroy();
    if (wasOpen) this.owner.onClose(error);
  }

  /** As {@link close}, but frames that were sent before are written first, for one second at most. */
  closeAfterFlush(error: TtrpcError): void {
    if (!this.markClosed(error)) return;
    const timer = setTimeout(() => this.socket.destroy(), FLUSH_LIMIT_MS);
    this.socket.once('close', () => {
      clearTimeout(timer);
    });
    this.socket.end(() => this.socket.destroy());
    this.owner.onClose(error);
  }

  private markClosed(error: TtrpcError): boolean {
    if (this.closedBy !== undefined) return false;
    this.closedBy = error;
    this.parser.stop();
    this.releaseWriters();
    return true;
  }

  private receive(chunk: Buffer): void {
    try {
      this.parser.push(chunk);
    } catch (error) {
      // After a broken frame there is no telling where the next one starts.
      this.closeAfterFlush(error instanceof TtrpcError ? error : internalError(error));
    }
  }

  /** All frames of one turn of the event loop leave in one writev. */
  private corkForThisTurn(): void {
    if (this.corked) return;
    this.corked = true;
    this.socket.cork();
    process.nextTick(() => {
      this.corked = false;
      this.socket.uncork();
    });
  }

  private releaseWriters(): void {
    if (this.blockedHold) {
      this.blockedHold = false;
      this.releaseReads();
    }
    const waiters = this.drainWaiters;
    this.drainWaiters = [];
    for (const resolve of waiters) resolve();
  }
}

function internalError(error: unknown): TtrpcError {
  return new TtrpcError('INTERNAL', `a received frame could not be handled: ${messageOf(error)}`, { cause: error });
}
