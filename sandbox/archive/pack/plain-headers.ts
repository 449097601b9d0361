/**
 * The headers of most entries: an ASCII name that fits, ids and sizes that fit, nothing for a pax header but nanoseconds. They are put
 * together where they are to be written from, byte by byte: with a million files every object and every call costs more than reading
 * them.
 */
import type { ByteString } from '../codec/bytes';
import { BLOCK, FIELD } from '../codec/header';
import { fitsOctal } from '../codec/numbers';
import type { OutEntry } from './headers';

const [CHECKSUM, CHECKSUM_LENGTH] = FIELD.checksum;
/** What the name of a pax header has more than its entry's. */
const PAX_NAME = 'PaxHeaders.0/';
const MOST_NAME = FIELD.name[1] - PAX_NAME.length;
const MOST_ID = 0o7777777;
const NEWLINE = 0x0a;
const PAX = 0x78;
const ZERO = 0x30;
/** `ustar`, a NUL, and the version. */
const MAGIC = Buffer.from('ustar\x0000', 'latin1');
const MTIME = Buffer.from(' mtime=', 'latin1');
/** Octal digits that bit operations are safe for. */
const LOW_DIGITS = 8;
const LOW = 8 ** LOW_DIGITS;

/** The most that {@link PlainHeaders.write} writes: a pax header, its records, the entry's own header. */
export const MOST_HEADERS = 3 * BLOCK;

/** What the header of an entry says besides its name. */
export interface PlainFields {
  /** The type's character. */
  type: number;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  seconds: number;
  nanoseconds: number;
}

export class PlainHeaders {
  #directory: ByteString | undefined;
  #prefix = new Uint8Array(0);
  #paxPrefix = new Uint8Array(0);
  #usable = false;
  /** What a block has but for name, size and time, the sum of its bytes, and for what it is. */
  readonly #block = new Uint8Array(BLOCK);
  #sum = 0;
  #mode = -1;
  #uid = -1;
  #gid = -1;
  #type = -1;

  /** The directory that the next names are in, `./a/`. */
  enter(directory: ByteString): void {
    if (directory === this.#directory) return;
    this.#directory = directory;
    this.#usable = directory.length <= MOST_NAME && isAscii(directory);
    if (!this.#usable) return;
    this.#prefix = Buffer.from(directory, 'latin1');
    this.#paxPrefix = Buffer.from(directory.slice(2) + PAX_NAME, 'latin1');
  }

  /**
   * Writes the headers of the entry whose name in the directory lies in `names`; of the directory itself when it is empty. There must
   * be {@link MOST_HEADERS} bytes. @returns how many were written; 0 for an entry that is not plain.
   */
  write(into: Uint8Array, at: number, names: Uint8Array, nameAt: number, length: number, fields: PlainFields): number {
    const { uid, gid, size, seconds, nanoseconds } = fields;
    if (!this.#usable || this.#prefix.length + length > MOST_NAME || uid > MOST_ID || gid > MOST_ID) return 0;
    if (!fitsOctal(size, FIELD.size[1]) || !fitsOctal(seconds, FIELD.mtime[1])) return 0;
    for (let i = nameAt; i < nameAt + length; i++) if (names[i]! > 0x7f) return 0;
    if (nanoseconds === 0) {
      this.#writeBlock(into, at, names, nameAt, length, fields);
      return BLOCK;
    }
    into.set(paxBlock, at);
    into.fill(0, at + BLOCK, at + 2 * BLOCK);
    const pax = this.#paxPrefix.length - (length === 0 ? 1 : 0);
    const paxSum = copy(this.#paxPrefix, 0, pax, into, at) + copy(names, nameAt, length, into, at + pax);
    const recordLength = writeTimeRecord(into, at + BLOCK, seconds, nanoseconds);
    finishPax(into, at, paxSum, recordLength);
    this.#writeBlock(into, at + 2 * BLOCK, names, nameAt, length, fields);
    return MOST_HEADERS;
  }

  #writeBlock(
    into: Uint8Array,
    at: number,
    names: Uint8Array,
    nameAt: number,
    length: number,
    fields: PlainFields,
  ): void {
    const { mode, uid, gid, type } = fields;
    if (mode !== this.#mode || uid !== this.#uid || gid !== this.#gid || type !== this.#type) this.#prepare(fields);
    into.set(this.#block, at);
    const prefix = this.#prefix.length;
    let sum = this.#sum + copy(this.#prefix, 0, prefix, into, at) + copy(names, nameAt, length, into, at + prefix);
    sum += octal(into, at + FIELD.size[0], FIELD.size[1], fields.size);
    sum += octal(into, at + FIELD.mtime[0], FIELD.mtime[1], fields.seconds);
    writeSum(into, at, sum);
  }

  /** Makes the block for entries like this one: in a directory they often have the same owner and mode. */
  #prepare({ mode, uid, gid, type }: PlainFields): void {
    [this.#mode, this.#uid, this.#gid, this.#type] = [mode, uid, gid, type];
    this.#sum = prepare(this.#block, type, mode & 0o7777, uid, gid);
  }
}

const scratch = new Uint8Array(MOST_HEADERS);
const scratchView = Buffer.from(scratch.buffer);
const scratchName = Buffer.alloc(256);
const any = new PlainHeaders();

/** All headers of a plain entry, a view that is good until the next call; `undefined` for an entry that is not one. */
export function encodePlain(entry: OutEntry): Buffer | undefined {
  if (
    entry.linkname !== undefined ||
    entry.xattrs?.length ||
    entry.realSize !== undefined ||
    entry.major ||
    entry.minor
  )
    return undefined;
  const slash = entry.name.lastIndexOf('/') + 1;
  if (entry.name.length > MOST_NAME) return undefined;
  any.enter(entry.name.slice(0, slash) as ByteString);
  const length = scratchName.write(entry.name.slice(slash), 'latin1');
  const { mode, uid, gid, stored: size = 0, mtime } = entry;
  const fields = { type: entry.type.charCodeAt(0), mode, uid, gid, size, ...mtime };
  const written = any.write(scratch, 0, scratchName, 0, length, fields);
  return written === 0 ? undefined : scratchView.subarray(0, written);
}

function isAscii(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** @returns the sum of the bytes. */
function copy(from: Uint8Array, start: number, length: number, into: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += into[at + i] = from[start + i]!;
  return sum;
}

/** Writes a field that was all zeros, with a NUL behind it. @returns the sum of its bytes. */
function octal(into: Uint8Array, at: number, length: number, value: number): number {
  let sum = (length - 1) * ZERO;
  let i = at + length - 2;
  let left = value % LOW;
  const low = Math.max(at, i - LOW_DIGITS + 1);
  for (; i >= low; i--, left >>= 3) {
    into[i] = ZERO + (left & 7);
    sum += left & 7;
  }
  for (left = Math.floor(value / LOW); i >= at; i--, left >>= 3) {
    into[i] = ZERO + (left & 7);
    sum += left & 7;
  }
  return sum;
}

/** Fills a block but for name, size, time and checksum. @returns the sum of its bytes. */
function prepare(block: Uint8Array, type: number, mode: number, uid: number, gid: number): number {
  block.fill(0);
  block[FIELD.typeflag[0]] = type;
  let sum = type + octal(block, FIELD.mode[0], FIELD.mode[1], mode);
  sum += octal(block, FIELD.uid[0], FIELD.uid[1], uid);
  sum += octal(block, FIELD.gid[0], FIELD.gid[1], gid);
  sum += octal(block, FIELD.devmajor[0], FIELD.devmajor[1], 0);
  sum += octal(block, FIELD.devminor[0], FIELD.devminor[1], 0);
  return sum + copy(MAGIC, 0, MAGIC.length, block, FIELD.magic[0]);
}

/** The block of a pax header. As in Go's archive/tar, it has no device numbers. */
function preparePax(block: Uint8Array): number {
  let sum = prepare(block, PAX, 0, 0, 0) + octal(block, FIELD.mtime[0], FIELD.mtime[1], 0);
  for (const [at, length] of [FIELD.devmajor, FIELD.devminor]) {
    sum -= (length - 1) * ZERO;
    block.fill(0, at, at + length);
  }
  return sum;
}

const paxBlock = new Uint8Array(BLOCK);
const paxBlockSum = preparePax(paxBlock);

/** `sum` is that of the name, which stands there. */
function finishPax(into: Uint8Array, at: number, sum: number, size: number): void {
  writeSum(into, at, sum + paxBlockSum + octal(into, at + FIELD.size[0], FIELD.size[1], size));
}

function writeSum(into: Uint8Array, at: number, sum: number): void {
  octal(into, at + CHECKSUM, CHECKSUM_LENGTH - 1, sum + CHECKSUM_LENGTH * 0x20);
  into[at + CHECKSUM + CHECKSUM_LENGTH - 1] = 0x20;
}

/** `30 mtime=1700000000.123456789\n`, where there are zeros. @returns its length. */
function writeTimeRecord(into: Uint8Array, at: number, seconds: number, nanoseconds: number): number {
  let digits = 9;
  let part = nanoseconds;
  for (; part % 10 === 0; part /= 10) digits--;
  let whole = 1;
  for (let left = seconds; left >= 10; left = Math.floor(left / 10)) whole++;
  // Two digits for the length itself, a blank, `mtime=`, a point, a newline.
  const length = whole + digits + 11;
  into[at] = ZERO + Math.floor(length / 10);
  into[at + 1] = ZERO + (length % 10);
  copy(MTIME, 0, MTIME.length, into, at + 2);
  const point = at + 2 + MTIME.length + whole;
  for (let i = point - 1, left = seconds; i >= point - whole; i--, left = Math.floor(left / 10)) into[i] = ZERO + (left % 10); // prettier-ignore
  into[point] = 0x2e;
  for (let i = point + digits; i > point; i--, part = Math.floor(part / 10)) into[i] = ZERO + (part % 10);
  into[at + length - 1] = NEWLINE;
  return length;
}
