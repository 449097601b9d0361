/** Tar header blocks: what their 512 bytes say, without looking at extended headers. */
import { readNumber } from './numbers';

export const BLOCK = 512;

/** Where each field of a header block lies: pax(1) "ustar Interchange Format". */
export const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeflag: [156, 1],
  linkname: [157, 100],
  magic: [257, 6],
  version: [263, 2],
  devmajor: [329, 8],
  devminor: [337, 8],
  prefix: [345, 155],
} as const satisfies Record<string, readonly [at: number, length: number]>;

/** star's own archives use the last 24 bytes of the prefix for times and mark the block's end with `tar`. */
const STAR_PREFIX = 131;
const STAR_MARK = 508;

export type Flavour = 'v7' | 'ustar' | 'gnu';

export interface Header {
  readonly flavour: Flavour;
  /** With the ustar prefix in front. Bytes, a view of the block unless there is a prefix. */
  readonly name: Buffer;
  readonly linkname: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Stored bytes that follow, for the types that have a body. */
  readonly size: number;
  /** Whole seconds. */
  readonly mtime: number;
  /** The type as a character, `\0` included. */
  readonly type: string;
  readonly major: number;
  readonly minor: number;
}

export function isZeroBlock(block: Buffer, at: number): boolean {
  for (let i = at; i < at + BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** Every second byte of a word. */
const HALF = 0x00ff00ff;
let viewed: Uint8Array | undefined;
let words: Uint32Array = new Uint32Array(0);

/** The sum of a block's bytes, four at a time where they are aligned: no 128 words overflow the halves of a sum. */
function sumOf(block: Uint8Array, at: number): number {
  if (((block.byteOffset + at) & 3) !== 0) {
    let sum = 0;
    for (let i = at; i < at + BLOCK; i++) sum += block[i]!;
    return sum;
  }
  if (viewed !== block) {
    viewed = block;
    const skipped = -block.byteOffset & 3;
    words = new Uint32Array(block.buffer, block.byteOffset + skipped, (block.length - skipped) >> 2);
  }
  const first = (at - (-block.byteOffset & 3)) >> 2;
  let even = 0;
  let odd = 0;
  for (let i = first; i < first + BLOCK / 4; i++) {
    const word = words[i]!;
    even += word & HALF;
    odd += (word >>> 8) & HALF;
  }
  return (even & 0xffff) + (even >>> 16) + (odd & 0xffff) + (odd >>> 16);
}

/** The sum of a header's bytes with the checksum field taken as spaces. */
export function headerSum(block: Uint8Array, at: number): number {
  const [sumAt, sumLength] = FIELD.checksum;
  let sum = sumLength * 0x20 + sumOf(block, at);
  for (let i = at + sumAt; i < at + sumAt + sumLength; i++) sum -= block[i]!;
  return sum;
}

/** The standard says unsigned bytes, but some old writers summed signed ones. */
export function signedHeaderSum(block: Uint8Array, at: number): number {
  const [sumAt, sumLength] = FIELD.checksum;
  let high = 0;
  for (let i = at; i < at + BLOCK; i++) if (i < at + sumAt || i >= at + sumAt + sumLength) high += block[i]! >> 7;
  return headerSum(block, at) - high * 256;
}

/** Reads the header at `at`. Gives the reason, for an error message, when it is not a valid one. */
export function decodeHeader(data: Buffer, at: number): Header | string {
  const sum = headerSum(data, at);
  const said = readNumber(data, at + FIELD.checksum[0], FIELD.checksum[1]);
  if (said !== sum && said !== signedHeaderSum(data, at)) {
    return `the header's checksum is wrong (it says ${said ?? 'no number'}, its bytes add up to ${sum})`;
  }
  const flavour = flavourOf(data, at);
  const fault: string[] = [];
  const number = (field: keyof typeof FIELD): number => {
    const value = readNumber(data, at + FIELD[field][0], FIELD[field][1]);
    if (value === undefined) fault.push(`the header's ${field} is not a number`);
    return value ?? 0;
  };
  const type = String.fromCharCode(data[at + FIELD.typeflag[0]]!);
  const device = flavour !== 'v7' && (type === '3' || type === '4');
  const header = {
    flavour,
    name: nameOf(data, at, flavour),
    linkname: fieldOf(data, at, FIELD.linkname[0], FIELD.linkname[1]),
    mode: number('mode'),
    uid: number('uid'),
    gid: number('gid'),
    size: number('size'),
    mtime: number('mtime'),
    type,
    major: device ? number('devmajor') : 0,
    minor: device ? number('devminor') : 0,
  };
  return fault[0] ?? header;
}

/** `ustar`, then a NUL or, in GNU's archives, two blanks and a NUL: read as numbers, because making strings of it takes longer. */
const USTA = 0x75737461;
const R = 0x72;
const GNU_REST = 0x202000;

function flavourOf(data: Buffer, at: number): Flavour {
  const magic = at + FIELD.magic[0];
  if (data.readUInt32BE(magic) !== USTA || data[magic + 4] !== R) return 'v7';
  return data.readUIntBE(magic + 5, 3) === GNU_REST ? 'gnu' : 'ustar';
}

const EMPTY = Buffer.alloc(0);

function fieldOf(data: Buffer, at: number, field: number, length: number): Buffer {
  const start = at + field;
  if (data[start] === 0) return EMPTY;
  let end = start + 1;
  while (end < start + length && data[end] !== 0) end++;
  return data.subarray(start, end);
}

function nameOf(data: Buffer, at: number, flavour: Flavour): Buffer {
  const name = fieldOf(data, at, FIELD.name[0], FIELD.name[1]);
  // GNU keeps times and sparse maps where ustar has the prefix.
  if (flavour !== 'ustar' || data[at + FIELD.prefix[0]] === 0) return name;
  const star = data.toString('latin1', at + STAR_MARK, at + BLOCK) === 'tar\0';
  const prefix = fieldOf(data, at, FIELD.prefix[0], star ? STAR_PREFIX : FIELD.prefix[1]);
  return Buffer.concat([prefix, Buffer.from('/'), name]);
}
