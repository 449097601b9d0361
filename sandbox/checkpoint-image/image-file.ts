/**
 * CRIU's image files, as far as they must be changed: a magic number or two, then protobuf messages, each behind its size
 * (CRIU's criu/include/magic.h, criu/protobuf.c). Messages are taken apart by the wire format alone, so that fields which
 * nobody here knows stay as they are.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { SiltError } from '../../errors';

/** Number, wire type and value of a field: a varint, or the bytes of everything else. */
export interface WireField {
  readonly number: number;
  readonly wireType: number;
  value: bigint | Buffer;
}

/** With it a file has a second magic number, its own. */
const COMMON_MAGIC = 0x54564319;
const SIZES: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

export interface ImageFile {
  readonly magic: Buffer;
  readonly entries: readonly Buffer[];
}

/** @throws SiltError CHECKPOINT_FAILED for a file that is not of this form. */
export function readImage(path: string): ImageFile {
  return parseImage(readFileSync(path), path);
}

/** @param name for messages @throws SiltError CHECKPOINT_FAILED for what is not of this form. */
export function parseImage(bytes: Buffer, name: string): ImageFile {
  const start = bytes.length >= 8 && bytes.readUInt32LE(0) === COMMON_MAGIC ? 8 : 4;
  const entries: Buffer[] = [];
  for (let at = start; at < bytes.length;) {
    const end = at + 4 <= bytes.length ? at + 4 + bytes.readUInt32LE(at) : Infinity;
    if (end > bytes.length) throw malformed(name);
    entries.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return { magic: bytes.subarray(0, start), entries };
}

export function writeImage(path: string, { magic, entries }: ImageFile): void {
  const parts = entries.flatMap((entry) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(entry.length);
    return [size, entry];
  });
  writeFileSync(path, Buffer.concat([magic, ...parts]));
}

function malformed(path: string): SiltError {
  return new SiltError('CHECKPOINT_FAILED', `CRIU's image ${path} is not of the form that this silt knows`, { path });
}

/** @throws SiltError CHECKPOINT_FAILED. */
export function parseFields(bytes: Buffer): WireField[] {
  const fields: WireField[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw malformed('message');
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = Number(tag & 7n);
    const number = Number(tag >> 3n);
    if (wireType === 0) {
      fields.push({ number, wireType, value: varint() });
      continue;
    }
    const size = wireType === 2 ? Number(varint()) : SIZES[wireType];
    if (size === undefined || at + size > bytes.length) throw malformed('message');
    fields.push({ number, wireType, value: bytes.subarray(at, at + size) });
    at += size;
  }
  return fields;
}

export function encodeFields(fields: readonly WireField[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ number, wireType, value }) => {
      const tag = varintBytes(BigInt((number << 3) | wireType));
      if (typeof value === 'bigint') return [tag, varintBytes(value)];
      return wireType === 2 ? [tag, varintBytes(BigInt(value.length)), value] : [tag, value];
    }),
  );
}

function varintBytes(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 0x80n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}

/** A number of a message; 0 when it is not there. */
export function numberOf(fields: readonly WireField[], number: number): number {
  const value = fields.find((field) => field.number === number)?.value;
  return typeof value === 'bigint' ? Number(value) : 0;
}

/** The text of a field; empty when it is not there. */
export function textOf(fields: readonly WireField[], number: number): string {
  return bytesOf(fields, number).toString('latin1');
}

/** The bytes of a field, such as a message within; empty when it is not there. */
export function bytesOf(fields: readonly WireField[], number: number): Buffer {
  const value = fields.find((field) => field.number === number)?.value;
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0);
}

/** The only message of that number; undefined when there is none or more than one: CRIU takes the last. */
export function messageIn(fields: readonly WireField[], number: number): WireField[] | undefined {
  const value = onlyValue(fields, number);
  return Buffer.isBuffer(value) ? parseFields(value) : undefined;
}

/** The only number of a field; undefined when there is none or more than one. */
export function onlyNumber(fields: readonly WireField[], number: number): bigint | undefined {
  const value = onlyValue(fields, number);
  return typeof value === 'bigint' ? value : undefined;
}

function onlyValue(fields: readonly WireField[], number: number): WireField['value'] | undefined {
  const found = fields.filter((field) => field.number === number);
  return found.length === 1 ? found[0]!.value : undefined;
}

/** The fields of an image's first entry; none when it has none. @throws SiltError CHECKPOINT_FAILED for what is no image. */
export function firstEntry(image: Buffer, name: string): WireField[] {
  const [entry = Buffer.alloc(0)] = parseImage(image, name).entries;
  return parseFields(entry);
}
