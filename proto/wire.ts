/**
 * Protobuf's wire format: varints, length-delimited bytes, and fixed 32 and 64 bits, low bytes first.
 *
 * https://protobuf.dev/programming-guides/encoding/. A field is a tag (field number << 3 | wire type) and a value.
 */
import { SiltError } from '../errors';

export const WireType = { Varint: 0, Fixed64: 1, Bytes: 2, StartGroup: 3, EndGroup: 4, Fixed32: 5 } as const;

/** How deep groups may nest. None of our messages has groups: they can only come in unknown fields. */
const maxGroupDepth = 100;
/** A 64-bit varint has at most ten bytes, the tenth holding one bit. */
const maxVarintBytes = 10;

function malformed(what: string, position: number): SiltError {
  return new SiltError('REQUEST_INVALID', `malformed protobuf: ${what} at byte ${position}`);
}

/** Reads from `bytes`, which it borrows. Every method raises REQUEST_INVALID where the bytes end early or make no sense. */
export class WireReader {
  readonly #bytes: Buffer;
  #position = 0;
  #end: number;
  #low = 0;
  #high = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.byteLength;
  }

  /** Whether the message (or the part that {@link within} opened) has been read to its end. */
  get done(): boolean {
    return this.#position >= this.#end;
  }

  /** Field number and wire type. */
  tag(): { number: number; wireType: number } {
    const start = this.#position;
    const tag = this.uint32();
    const number = tag >>> 3;
    if (this.#high !== 0 || number === 0) throw malformed('a field number out of range', start);
    return { number, wireType: tag & 7 };
  }

  /** The low 32 bits of a varint. */
  uint32(): number {
    this.#varint();
    return this.#low;
  }

  int32(): number {
    return this.uint32() | 0;
  }

  bool(): boolean {
    this.#varint();
    return this.#low !== 0 || this.#high !== 0;
  }

  uint64(): bigint {
    this.#varint();
    return this.#high === 0 ? BigInt(this.#low) : (BigInt(this.#high) << 32n) | BigInt(this.#low);
  }

  int64(): bigint {
    return BigInt.asIntN(64, this.uint64());
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#advance(8));
  }

  /** A copy. */
  bytes(): Uint8Array {
    const length = this.#length();
    const start = this.#advance(length);
    return new Uint8Array(this.#bytes.subarray(start, start + length));
  }

  /** Text; bytes that are not UTF-8 are refused, as Go does. */
  string(): string {
    const length = this.#length();
    const start = this.#advance(length);
    const text = this.#bytes.toString('utf8', start, start + length);
    if (text.includes('\uFFFD') && !Buffer.from(text).equals(this.#bytes.subarray(start, start + length))) {
      throw malformed('a string that is not UTF-8', start);
    }
    return text;
  }

  /** Reads a length, calls `read` until {@link done} says that so many bytes are gone. */
  within(read: () => void): void {
    const length = this.#length();
    const outerEnd = this.#end;
    const innerEnd = this.#advance(length) + length;
    this.#position = innerEnd - length;
    this.#end = innerEnd;
    read();
    this.#end = outerEnd;
  }

  /** Passes over the value of a field that nobody wants. */
  skip(wireType: number, depth = 0): void {
    switch (wireType) {
      case WireType.Varint:
        this.#varint();
        return;
      case WireType.Fixed64:
        this.#advance(8);
        return;
      case WireType.Bytes:
        this.#advance(this.#length());
        return;
      case WireType.StartGroup: {
        if (depth >= maxGroupDepth) throw malformed('groups nested too deep', this.#position);
        for (let inner = this.tag(); inner.wireType !== WireType.EndGroup; inner = this.tag()) {
          this.skip(inner.wireType, depth + 1);
        }
        return;
      }
      case WireType.Fixed32:
        this.#advance(4);
        return;
      default:
        throw malformed(`unexpected wire type ${wireType}`, this.#position);
    }
  }

  #length(): number {
    const length = this.uint32();
    if (this.#high !== 0) throw malformed('a length out of range', this.#position);
    return length;
  }

  /** Takes `count` bytes; returns where they start. */
  #advance(count: number): number {
    const start = this.#position;
    if (count > this.#end - start) throw malformed(`${count} bytes wanted, ${this.#end - start} left,`, start);
    this.#position += count;
    return start;
  }

  /** Seven bits per byte, low ones first, into two halves. */
  #varint(): void {
    let low = 0;
    let high = 0;
    for (let index = 0; index < maxVarintBytes; index++) {
      const byte = this.#bytes[this.#advance(1)]!;
      const bits = byte & 0x7f;
      const shift = index * 7;
      if (shift < 32) low |= bits << shift;
      if (shift > 28) high |= bits << (shift - 32);
      else if (shift === 28) high |= bits >>> 4;
      if (byte < 0x80) {
        if (index === maxVarintBytes - 1 && byte > 1) break;
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        return;
      }
    }
    throw malformed('a varint of more than 64 bits', this.#position);
  }
}

/** Writes one message. Callers check values: what does not fit is cut off here. */
export class WireWriter {
  #bytes = Buffer.allocUnsafe(256);
  #position = 0;

  /** What was written, as bytes of its own. */
  finish(): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(0, this.#position));
  }

  tag(number: number, wireType: number): void {
    this.uint32(((number << 3) | wireType) >>> 0);
  }

  uint32(value: number): void {
    this.#reserve(5);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#position++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#position++] = rest;
  }

  /** Negative numbers take ten bytes. */
  int32(value: number): void {
    if (value < 0) this.uint64(BigInt(value));
    else this.uint32(value);
  }

  /** Both signed and unsigned: the low 64 bits. */
  uint64(value: bigint): void {
    this.#reserve(maxVarintBytes);
    let rest = BigInt.asUintN(64, value);
    while (rest > 0xffffffffn) {
      this.#bytes[this.#position++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.uint32(Number(rest));
  }

  double(value: number): void {
    this.#reserve(8);
    this.#position = this.#bytes.writeDoubleLE(value, this.#position);
  }

  bytes(value: Uint8Array): void {
    this.uint32(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#position);
    this.#position += value.length;
  }

  string(value: string): void {
    const length = Buffer.byteLength(value);
    this.uint32(length);
    this.#reserve(length);
    this.#bytes.write(value, this.#position);
    this.#position += length;
  }

  /** Whatever `write` writes, behind its length. */
  within(write: () => void): void {
    this.#reserve(1);
    const start = ++this.#position;
    write();
    const length = this.#position - start;
    const lengthBytes = length < 0x80 ? 1 : Math.ceil((32 - Math.clz32(length)) / 7);
    this.#reserve(lengthBytes);
    this.#bytes.copyWithin(start - 1 + lengthBytes, start, this.#position);
    this.#position = start - 1;
    this.uint32(length);
    this.#position += length;
  }

  #reserve(count: number): void {
    const needed = this.#position + count;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length));
    larger.set(this.#bytes.subarray(0, this.#position));
    this.#bytes = larger;
  }
}
