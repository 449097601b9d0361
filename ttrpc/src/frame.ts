/**
 * Frames: the 10-byte header, and a parser that takes the bytes of a connection in chunks of any size.
 *
 * See PROTOCOL.md, "Frame".
 */
import { TtrpcError } from './status';

/** Bytes of a frame's header. */
export const HEADER_LENGTH = 10;

/** The largest payload of a frame, in bytes, in both directions. */
export const MAX_MESSAGE_LENGTH = 4 * 1024 * 1024;

/** The first byte of the length is reserved, so a length from here on is not a length (16 MiB). */
const RESERVED_LENGTH = 0x100_0000;

export const MessageType = { Request: 1, Response: 2, Data: 3 } as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

export const Flag = {
  /** The sender sends nothing more on this stream. */
  RemoteClosed: 1,
  /** On a request: the sender will send data on this stream. */
  RemoteOpen: 2,
  /** The frame carries no message, as against an empty one. */
  NoData: 4,
} as const;

/** A frame without its payload. */
export interface FrameHeader {
  readonly streamId: number;
  readonly type: MessageType;
  /** Bits of {@link Flag}. */
  readonly flags: number;
  /** Bytes of the payload. */
  readonly length: number;
}

/** Who is told what a {@link FrameParser} finds, in the order of the bytes. What it throws goes out of `push`. */
export interface FrameSink {
  /** `payload` may be a view of a larger chunk: copy it if it is to be kept for long. */
  onFrame(header: FrameHeader, payload: Buffer): void;
  /** A frame over the limit has gone by; its payload was not kept. */
  onOversize(header: FrameHeader): void;
}

const EMPTY = Buffer.alloc(0);

/**
 * Writes a header to the first ten bytes of `target`.
 *
 * `length` is checked by {@link checkMessageLength} and not here.
 */
export function writeHeader(target: Buffer, header: FrameHeader): void {
  target.writeUInt32BE(header.length, 0);
  target.writeUInt32BE(header.streamId, 4);
  target[8] = header.type;
  target[9] = header.flags;
}

/** Throws `RESOURCE_EXHAUSTED` if a message of `length` bytes is over the limit. */
export function checkMessageLength(length: number): void {
  if (length > MAX_MESSAGE_LENGTH) throw oversizeError(length);
}

/** The error of a call whose message has `length` bytes, which is over the limit. */
export function oversizeError(length: number): TtrpcError {
  const message = `message of ${length} bytes is over the limit of ${MAX_MESSAGE_LENGTH}`;
  return new TtrpcError('RESOURCE_EXHAUSTED', message);
}

function parseHeader(bytes: Buffer, offset: number): FrameHeader {
  const length = bytes.readUInt32BE(offset);
  if (length >= RESERVED_LENGTH) {
    throw new TtrpcError('PROTOCOL_ERROR', `frame length 0x${length.toString(16)} uses the reserved first byte`);
  }
  const type = bytes[offset + 8];
  if (type !== MessageType.Request && type !== MessageType.Response && type !== MessageType.Data) {
    throw new TtrpcError('PROTOCOL_ERROR', `frame has the unknown message type ${type ?? 0}`);
  }
  return { streamId: bytes.readUInt32BE(offset + 4), type, flags: bytes[offset + 9] ?? 0, length };
}

/**
 * Cuts the bytes of one connection into frames.
 *
 * A payload that lies whole in a chunk is passed on as a view of it; one that is split is copied once, to a buffer of
 * its own. At most one payload (4 MiB) is held.
 */
export class FrameParser {
  private readonly partialHeader = Buffer.alloc(HEADER_LENGTH);
  /** Bytes of `partialHeader` that are filled. */
  private headerFill = 0;
  /** The header whose payload is being read. */
  private current: FrameHeader | undefined;
  /** Where that payload is gathered; undefined while an oversize one is skipped. */
  private body: Buffer | undefined;
  /** Bytes of the current payload that have gone by. */
  private bodyFill = 0;
  private stopped = false;

  constructor(private readonly sink: FrameSink) {}

  /**
   * Takes the next bytes of the connection. The chunk must not be changed afterwards, as payloads may be views of it.
   *
   * Throws `PROTOCOL_ERROR` if the bytes are no frame; the parser must not be used after that.
   */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length && !this.stopped) {
      offset = this.current === undefined ? this.takeHeader(chunk, offset) : this.takeBody(this.current, chunk, offset);
    }
  }

  /** Drops everything from here on, also the rest of a chunk that is being parsed. */
  stop(): void {
    this.stopped = true;
    this.current = undefined;
    this.body = undefined;
  }

  private takeHeader(chunk: Buffer, offset: number): number {
    if (this.headerFill === 0 && chunk.length - offset >= HEADER_LENGTH) {
      return this.startFrame(parseHeader(chunk, offset), chunk, offset + HEADER_LENGTH);
    }
    const copied = chunk.copy(this.partialHeader, this.headerFill, offset);
    this.headerFill += copied;
    if (this.headerFill < HEADER_LENGTH) return offset + copied;
    this.headerFill = 0;
    return this.startFrame(parseHeader(this.partialHeader, 0), chunk, offset + copied);
  }

  private startFrame(header: FrameHeader, chunk: Buffer, offset: number): number {
    if (header.length > MAX_MESSAGE_LENGTH) {
      this.current = header;
      return offset;
    }
    const end = offset + header.length;
    if (end <= chunk.length) {
      this.sink.onFrame(header, header.length === 0 ? EMPTY : chunk.subarray(offset, end));
      return end;
    }
    this.current = header;
    this.body = Buffer.allocUnsafe(header.length);
    return offset;
  }

  private takeBody(header: FrameHeader, chunk: Buffer, offset: number): number {
    const end = Math.min(chunk.length, offset + header.length - this.bodyFill);
    this.body?.set(chunk.subarray(offset, end), this.bodyFill);
    this.bodyFill += end - offset;
    if (this.bodyFill === header.length) {
      const body = this.body;
      this.current = undefined;
      this.body = undefined;
      this.bodyFill = 0;
      if (body === undefined) this.sink.onOversize(header);
      else this.sink.onFrame(header, body);
    }
    return end;
  }
}
