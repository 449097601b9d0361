import { SiltError } from '../../errors';

/**
 * Values of D-Bus messages (D-Bus specification, "Marshalling"): numbers for y n q i u d, bigints for x t, strings for s o g, lists for
 * arrays and structs, and a {@link Variant} for v. A list of bytes (`ay`) may be a Buffer. Little endian both ways, as messages of this
 * machine are; others are refused.
 */
export type Value = number | bigint | boolean | string | Buffer | Variant | readonly Value[];

export interface Variant {
  readonly signature: string;
  readonly value: Value;
}

interface Fixed {
  readonly size: number;
  readonly write: (to: Buffer, value: never) => unknown;
  readonly read: (from: Buffer, at: number) => Value;
}

/** Types of a fixed size, which is their alignment too. */
const FIXED: Readonly<Record<string, Fixed>> = {
  y: { size: 1, write: (to, value) => to.writeUInt8(value), read: (from, at) => from.readUInt8(at) },
  n: { size: 2, write: (to, value) => to.writeInt16LE(value), read: (from, at) => from.readInt16LE(at) },
  q: { size: 2, write: (to, value) => to.writeUInt16LE(value), read: (from, at) => from.readUInt16LE(at) },
  i: { size: 4, write: (to, value) => to.writeInt32LE(value), read: (from, at) => from.readInt32LE(at) },
  u: { size: 4, write: (to, value) => to.writeUInt32LE(value), read: (from, at) => from.readUInt32LE(at) },
  b: {
    size: 4,
    write: (to, value) => to.writeUInt32LE(Number(value)),
    read: (from, at) => from.readUInt32LE(at) !== 0,
  },
  x: { size: 8, write: (to, value) => to.writeBigInt64LE(value), read: (from, at) => from.readBigInt64LE(at) },
  t: { size: 8, write: (to, value) => to.writeBigUInt64LE(value), read: (from, at) => from.readBigUInt64LE(at) },
  d: { size: 8, write: (to, value) => to.writeDoubleLE(value), read: (from, at) => from.readDoubleLE(at) },
};
const OTHER_ALIGNMENTS: Readonly<Record<string, number>> = { g: 1, v: 1, s: 4, o: 4, a: 4, '(': 8, '{': 8 };

/** @throws RangeError for what is no type. */
function alignmentOf(type: string): number {
  const letter = type[0] ?? '';
  const alignment = FIXED[letter]?.size ?? OTHER_ALIGNMENTS[letter];
  if (alignment === undefined) throw new RangeError(`no D-Bus type: ${type}`);
  return alignment;
}

/** Splits a signature into its complete types. @throws RangeError for none. */
export function completeTypes(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length;) {
    const end = endOfType(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function endOfType(signature: string, at: number): number {
  const letter = signature[at] ?? '';
  alignmentOf(letter);
  if (letter === 'a') return endOfType(signature, at + 1);
  if (letter !== '(' && letter !== '{') return at + 1;
  const close = letter === '(' ? ')' : '}';
  let next = at + 1;
  while (signature[next] !== close) next = endOfType(signature, next);
  return next + 1;
}

/** Builds the bytes of values. Offsets count from the beginning of what is written: a message's, or its body's. */
export class Writer {
  readonly #parts: Buffer[] = [];
  #length = 0;

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  align(to: number): void {
    this.#add(Buffer.alloc((to - (this.#length % to)) % to));
  }

  /** One value per complete type of the signature. */
  values(signature: string, values: readonly Value[]): void {
    completeTypes(signature).forEach((type, i) => this.#value(type, values[i]!));
  }

  #add(part: Buffer): void {
    this.#parts.push(part);
    this.#length += part.length;
  }

  #value(type: string, value: Value): void {
    const letter = type[0]!;
    this.align(alignmentOf(letter));
    const fixed = FIXED[letter];
    if (fixed) {
      const bytes = Buffer.alloc(fixed.size);
      fixed.write(bytes, value as never);
      this.#add(bytes);
    } else if (letter === 'a') {
      this.#array(type.slice(1), value as readonly Value[] | Buffer);
    } else if (letter === '(' || letter === '{') {
      this.values(type.slice(1, -1), value as readonly Value[]);
    } else if (letter === 'v') {
      const variant = value as Variant;
      this.#value('g', variant.signature);
      this.#value(variant.signature, variant.value);
    } else {
      this.#text(letter === 'g' ? 'y' : 'u', value as string);
    }
  }

  #text(lengthType: 'y' | 'u', value: string): void {
    const text = Buffer.from(`${value}\0`);
    this.#value(lengthType, text.length - 1);
    this.#add(text);
  }

  /** Its length counts its elements, not the padding before the first. */
  #array(type: string, values: readonly Value[] | Buffer): void {
    const length = Buffer.alloc(4);
    this.#add(length);
    this.align(alignmentOf(type));
    const start = this.#length;
    if (Buffer.isBuffer(values)) this.#add(values);
    else for (const value of values) this.#value(type, value);
    length.writeUInt32LE(this.#length - start);
  }
}

/** Reads values back. @throws RangeError where the bytes end early. */
export class Reader {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  values(signature: string): Value[] {
    return completeTypes(signature).map((type) => this.#value(type));
  }

  #align(to: number): void {
    this.#at += (to - (this.#at % to)) % to;
  }

  #take(size: number): number {
    const at = this.#at;
    if (at + size > this.bytes.length) throw new RangeError('a D-Bus message that ends early');
    this.#at += size;
    return at;
  }

  #value(type: string): Value {
    const letter = type[0]!;
    this.#align(alignmentOf(letter));
    const fixed = FIXED[letter];
    if (fixed) return fixed.read(this.bytes, this.#take(fixed.size));
    if (letter === 'a') return this.#array(type.slice(1));
    if (letter === '(' || letter === '{') return this.values(type.slice(1, -1));
    if (letter !== 'v') return this.#text(letter === 'g' ? 'y' : 'u');
    const signature = this.#text('y');
    return { signature, value: this.#value(signature) };
  }

  #text(lengthType: 'y' | 'u'): string {
    const length = this.#value(lengthType) as number;
    const at = this.#take(length + 1);
    return this.bytes.toString('utf8', at, at + length);
  }

  #array(type: string): Value[] {
    const length = this.#value('u') as number;
    this.#align(alignmentOf(type));
    const end = this.#at + length;
    const values: Value[] = [];
    while (this.#at < end) values.push(this.#value(type));
    return values;
  }
}

/** Message types, and the header fields by their number in the protocol. */
export const MESSAGE = { call: 1, reply: 2, error: 3, signal: 4 } as const;
const FIELDS = { path: 1, interface: 2, member: 3, errorName: 4, replySerial: 5, destination: 6, signature: 8 } as const; // prettier-ignore
const FIELD_TYPES: Readonly<Record<string, string>> = { path: 'o', replySerial: 'u', signature: 'g' };
const HEADER = 'yyyyuua(yv)';
const PROTOCOL_VERSION = 1;

export interface Message {
  readonly type: number;
  readonly serial: number;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly replySerial?: number;
  readonly destination?: string;
  readonly signature?: string;
  /** Values of the signature, as bytes: most signals are of no interest, and are not read. */
  readonly body: Buffer;
}

/** @throws RangeError for a body that is not what the message's signature says. */
export function bodyOf({ signature = '', body }: Message): Value[] {
  return new Reader(body).values(signature);
}

export function encodeBody(signature: string, values: readonly Value[]): Buffer {
  const writer = new Writer();
  writer.values(signature, values);
  return writer.bytes();
}

/** "Message Format". */
export function encodeMessage(message: Message): Buffer {
  const fields = Object.entries(FIELDS).flatMap(([name, code]) => {
    const value = message[name as keyof Message] as Value | undefined;
    return value === undefined ? [] : [[code, { signature: FIELD_TYPES[name] ?? 's', value }]];
  });
  const header = new Writer();
  const fixed = ['l'.charCodeAt(0), message.type, 0, PROTOCOL_VERSION, message.body.length, message.serial];
  header.values(HEADER, [...fixed, fields]);
  header.align(8);
  return Buffer.concat([header.bytes(), message.body]);
}

const FIXED_HEADER = 16;
/** "The maximum length of a message"; systemd's answers here are some hundred bytes. */
const MAX_MESSAGE = 128 * 1024 * 1024;

/**
 * The first message of what has arrived, and how many bytes it takes; undefined when it is not whole yet.
 * @throws SiltError SYSTEMD_FAILED for what is no message.
 */
export function decodeMessage(bytes: Buffer): { message: Message; size: number } | undefined {
  if (bytes.length < FIXED_HEADER) return undefined;
  if (bytes[0] !== 'l'.charCodeAt(0)) {
    throw new SiltError('SYSTEMD_FAILED', 'systemd answers with what is no D-Bus message of this machine’s byte order');
  }
  const bodyStart = Math.ceil((FIXED_HEADER + bytes.readUInt32LE(12)) / 8) * 8;
  const size = bodyStart + bytes.readUInt32LE(4);
  if (size > MAX_MESSAGE) throw new SiltError('SYSTEMD_FAILED', `systemd answers with a message of ${size} bytes`);
  if (bytes.length < size) return undefined;
  const [, type, , , , serial, fields] = new Reader(bytes).values(HEADER) as [
    number, number, number, number, number, number, [number, Variant][]]; // prettier-ignore
  const named = Object.fromEntries(
    Object.entries(FIELDS).map(([name, code]) => [name, fields.find(([one]) => one === code)?.[1].value]),
  ) as Partial<Message>;
  return { message: { ...named, type, serial, body: bytes.subarray(bodyStart, size) }, size };
}
