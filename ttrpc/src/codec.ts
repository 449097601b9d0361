/**
 * The protobuf messages of ttrpc itself: Request, Response, KeyValue, and google.rpc.Status with google.protobuf.Any.
 *
 * See PROTOCOL.md, "Messages". Written by hand so that this package needs no protobuf library: five messages with
 * strings, bytes and two integers. Payloads are opaque here.
 */

/** google.protobuf.Any. */
export interface Any {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** google.rpc.Status. */
export interface StatusMessage {
  readonly code: number;
  readonly message: string;
  readonly details: readonly Any[];
}

/** One metadata entry. A key may occur more than once. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

export interface RequestMessage {
  readonly service: string;
  readonly method: string;
  readonly payload: Uint8Array;
  /** Nanoseconds that the caller waits; 0: no limit; negative: it has given up already. Exact up to 2^53. */
  readonly timeoutNano: number;
  readonly metadata: readonly KeyValue[];
}

export interface ResponseMessage {
  /** Absent if the call succeeded. */
  readonly status: StatusMessage | undefined;
  readonly payload: Uint8Array;
}

/**
 * A message ready for the socket. The payload is not copied behind its head: one writev of two buffers was measured to
 * cost no more than copying and one write, for payloads of 100 bytes as for 64 KiB (Node 24, unix socket).
 */
export interface WireParts {
  /** Begins with room for a frame header, then holds the message up to the payload's bytes. */
  readonly head: Buffer;
  /** The payload's bytes as they were given; undefined if there are none. */
  readonly body: Uint8Array | undefined;
}

const WireType = { Varint: 0, Fixed64: 1, Bytes: 2, Fixed32: 5 } as const;
const NO_BYTES = new Uint8Array(0);

/** Encodes a Request behind `headroom` free bytes. The payload is written last, so that it can be a piece of its own. */
export function encodeRequest(request: RequestMessage, headroom: number): WireParts {
  const { service, method, payload, timeoutNano, metadata } = request;
  let size = stringFieldSize(service) + stringFieldSize(method);
  if (timeoutNano > 0) size += 1 + varintSize(timeoutNano);
  for (const entry of metadata) size += messageFieldSize(keyValueSize(entry));
  const writer = new Writer(headroom, size, payload);
  writer.stringField(1, service);
  writer.stringField(2, method);
  if (timeoutNano > 0) writer.varintField(4, timeoutNano);
  for (const entry of metadata) {
    writer.bytesHead(5, keyValueSize(entry));
    writer.stringField(1, entry.key);
    writer.stringField(2, entry.value);
  }
  return writer.finish(3, payload);
}

/** Encodes a Response behind `headroom` free bytes. */
export function encodeResponse(response: ResponseMessage, headroom: number): WireParts {
  const { status, payload } = response;
  const writer = new Writer(headroom, status === undefined ? 0 : messageFieldSize(statusSize(status)), payload);
  if (status !== undefined) {
    writer.bytesHead(1, statusSize(status));
    if (status.code !== 0) writer.varintField(1, status.code);
    writer.stringField(2, status.message);
    for (const detail of status.details) {
      writer.bytesHead(3, anySize(detail));
      writer.stringField(1, detail.typeUrl);
      if (detail.value.length > 0) writer.bytesField(2, detail.value);
    }
  }
  return writer.finish(2, payload);
}

/** A stream message, which has no wrapper, behind `headroom` free bytes. */
export function encodeData(payload: Uint8Array, headroom: number): WireParts {
  return { head: Buffer.allocUnsafe(headroom), body: payload.length === 0 ? undefined : payload };
}

/** Decodes a Request. Its payload is a view of `bytes`. Throws an Error if the bytes are not protobuf. */
export function decodeRequest(bytes: Buffer): RequestMessage {
  const reader = new Reader(bytes, 0, bytes.length);
  let service = '';
  let method = '';
  let payload: Uint8Array = NO_BYTES;
  let timeoutNano = 0;
  const metadata: KeyValue[] = [];
  while (reader.next()) {
    if (reader.is(1, WireType.Bytes)) service = reader.string();
    else if (reader.is(2, WireType.Bytes)) method = reader.string();
    else if (reader.is(3, WireType.Bytes)) payload = reader.bytes();
    else if (reader.is(4, WireType.Varint)) timeoutNano = reader.int64();
    else if (reader.is(5, WireType.Bytes)) metadata.push(decodeKeyValue(reader.message()));
    else reader.skip();
  }
  return { service, method, payload, timeoutNano, metadata };
}

/** Decodes a Response. Its payload is a view of `bytes`. Throws an Error if the bytes are not protobuf. */
export function decodeResponse(bytes: Buffer): ResponseMessage {
  const reader = new Reader(bytes, 0, bytes.length);
  let status: StatusMessage | undefined;
  let payload: Uint8Array = NO_BYTES;
  while (reader.next()) {
    if (reader.is(1, WireType.Bytes)) status = decodeStatus(reader.message());
    else if (reader.is(2, WireType.Bytes)) payload = reader.bytes();
    else reader.skip();
  }
  return { status, payload };
}

function decodeKeyValue(reader: Reader): KeyValue {
  let key = '';
  let value = '';
  while (reader.next()) {
    if (reader.is(1, WireType.Bytes)) key = reader.string();
    else if (reader.is(2, WireType.Bytes)) value = reader.string();
    else reader.skip();
  }
  return { key, value };
}

function decodeStatus(reader: Reader): StatusMessage {
  let code = 0;
  let message = '';
  const details: Any[] = [];
  while (reader.next()) {
    if (reader.is(1, WireType.Varint)) code = reader.int64();
    else if (reader.is(2, WireType.Bytes)) message = reader.string();
    else if (reader.is(3, WireType.Bytes)) details.push(decodeAny(reader.message()));
    else reader.skip();
  }
  return { code, message, details };
}

function decodeAny(reader: Reader): Any {
  let typeUrl = '';
  let value: Uint8Array = NO_BYTES;
  while (reader.next()) {
    if (reader.is(1, WireType.Bytes)) typeUrl = reader.string();
    else if (reader.is(2, WireType.Bytes)) value = reader.bytes();
    else reader.skip();
  }
  return { typeUrl, value };
}

/** Bytes of a non-negative integer as a varint. */
function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** Bytes of a field with a one-byte tag and `length` bytes of content. */
function messageFieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

/** An empty string is not written, as in every proto3 encoder. */
function stringFieldSize(text: string): number {
  return text === '' ? 0 : messageFieldSize(Buffer.byteLength(text));
}

function keyValueSize(entry: KeyValue): number {
  return stringFieldSize(entry.key) + stringFieldSize(entry.value);
}

function anySize(any: Any): number {
  return stringFieldSize(any.typeUrl) + (any.value.length === 0 ? 0 : messageFieldSize(any.value.length));
}

function statusSize(status: StatusMessage): number {
  let size = status.code === 0 ? 0 : 1 + varintSize(status.code);
  size += stringFieldSize(status.message);
  for (const detail of status.details) size += messageFieldSize(anySize(detail));
  return size;
}

/** Writes fields to a buffer whose size is known beforehand. All field numbers are below 16: one byte of tag. */
class Writer {
  private readonly buffer: Buffer;
  private position: number;

  constructor(headroom: number, fieldsSize: number, payload: Uint8Array) {
    const payloadHead = payload.length === 0 ? 0 : 1 + varintSize(payload.length);
    this.buffer = Buffer.allocUnsafe(headroom + fieldsSize + payloadHead);
    this.position = headroom;
  }

  varintField(field: number, value: number): void {
    this.buffer[this.position++] = (field << 3) | WireType.Varint;
    this.varint(value);
  }

  stringField(field: number, text: string): void {
    if (text === '') return;
    this.bytesHead(field, Buffer.byteLength(text));
    this.position += this.buffer.write(text, this.position);
  }

  bytesField(field: number, bytes: Uint8Array): void {
    this.bytesHead(field, bytes.length);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  /** Tag and length of a field whose `length` bytes follow. */
  bytesHead(field: number, length: number): void {
    this.buffer[this.position++] = (field << 3) | WireType.Bytes;
    this.varint(length);
  }

  /** Ends the message with the payload as `field`. */
  finish(field: number, payload: Uint8Array): WireParts {
    if (payload.length === 0) return { head: this.buffer, body: undefined };
    this.bytesHead(field, payload.length);
    return { head: this.buffer, body: payload };
  }

  private varint(value: number): void {
    let rest = value;
    // Division in place of shifts, as timeouts go past 32 bits.
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.buffer[this.position++] = (rest % 0x80) | 0x80;
    this.buffer[this.position++] = rest;
  }
}

/** Reads the fields of one message, which ends at `end` in `buffer`. */
class Reader {
  private field = 0;
  private wireType = 0;

  constructor(
    private readonly buffer: Buffer,
    private position: number,
    private readonly end: number,
  ) {}

  /** Goes to the next field; false at the end. */
  next(): boolean {
    if (this.position >= this.end) return false;
    const tag = this.uint32();
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    if (this.field === 0) throw new Error('field number 0');
    return true;
  }

  is(field: number, wireType: number): boolean {
    return this.field === field && this.wireType === wireType;
  }

  string(): string {
    const start = this.enterBytes();
    return this.buffer.toString('utf8', start, this.position);
  }

  bytes(): Buffer {
    const start = this.enterBytes();
    return this.buffer.subarray(start, this.position);
  }

  message(): Reader {
    const start = this.enterBytes();
    return new Reader(this.buffer, start, this.position);
  }

  /** A signed 64-bit varint, rounded past 2^53. */
  int64(): number {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.byte();
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) return (high | 0) * 0x1_0000_0000 + (low >>> 0);
    }
    throw new Error('varint of more than 10 bytes');
  }

  skip(): void {
    if (this.wireType === WireType.Varint) this.int64();
    else if (this.wireType === WireType.Bytes) this.enterBytes();
    else if (this.wireType === WireType.Fixed64) this.advance(8);
    else if (this.wireType === WireType.Fixed32) this.advance(4);
    else throw new Error(`wire type ${this.wireType}`);
  }

  /** Moves past a length and its bytes, and returns where they start. */
  private enterBytes(): number {
    const length = this.uint32();
    const start = this.position;
    this.advance(length);
    return start;
  }

  private uint32(): number {
    const value = this.int64();
    if (value < 0 || value > 0xffff_ffff) throw new Error(`${value} is not a length or a tag`);
    return value;
  }

  private byte(): number {
    if (this.position >= this.end) throw new Error('ends within a field');
    return this.buffer[this.position++]!;
  }

  private advance(count: number): void {
    if (count > this.end - this.position) throw new Error(`field of ${count} bytes goes past the end`);
    this.position += count;
  }
}
