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
const ZERO = 0x30;
/** `ustar`, a NUL, and the version. */
const MAGIC = Buffer.from('ustar\x0000', 'latin1');
const MTIME = Buffer.from(' mtime=', 'latin1');
/** Octal digits that bit operations are safe for. */
const LOW_DIGITS = 8;

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
      into.fill(0, at, at + BLOCK);
      const sum = copy(this.#prefix, 0, this.#prefix.length, into, at);
      const sumOfName = copy(names, nameAt, length, into, at + this.#prefix.length);
      finish(into, at, sum + sumOfName, fields);
      return BLOCK;
    }
    into.fill(0, at, at + MOST_HEADERS);
    const pax = this.#paxPrefix.length - (length === 0 ? 1 : 0);
    const paxSum = copy(this.#paxPrefix, 0, pax, into, at) + copy(names, nameAt, length, into, at + pax);
    const recordLength = writeTimeRecord(into, at + BLOCK, seconds, nanoseconds);
    finishPax(into, at, paxSum, recordLength);
    const own = at + 2 * BLOCK;
    const sum = copy(this.#prefix, 0, this.#prefix.length, into, own);
    finish(into, own, sum + copy(names, nameAt, length, into, own + this.#prefix.length), fields);
    return MOST_HEADERS;
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
  let left = value % 8 ** LOW_DIGITS;
  const low = Math.max(at, i - LOW_DIGITS + 1);
  for (; i >= low; i--, left >>= 3) {
    into[i] = ZERO + (left & 7);
    sum += left & 7;
  }
  for (left = Math.floor(value / 8 ** LOW_DIGITS); i >= at; i--, left >>= 3) {
    into[i] = ZERO + (left & 7);
    sum += left & 7;
  }
  return sum;
}

/** `sum` is that of the name, which stands there. */
function finish(into: Uint8Array, at: number, sum: number, fields: PlainFields): void {
  let total = sum + fields.type + octal(into, at + FIELD.mode[0], FIELD.mode[1], fields.mode & 0o7777);
  total += octal(into, at + FIELD.uid[0], FIELD.uid[1], fields.uid);
  total += octal(into, at + FIELD.gid[0], FIELD.gid[1], fields.gid);
  total += octal(into, at + FIELD.size[0], FIELD.size[1], fields.size);
  total += octal(into, at + FIELD.mtime[0], FIELD.mtime[1], fields.seconds);
  total += octal(into, at + FIELD.devmajor[0], FIELD.devmajor[1], 0);
  total += octal(into, at + FIELD.devminor[0], FIELD.devminor[1], 0);
  into[at + FIELD.typeflag[0]] = fields.type;
  seal(into, at, total);
}

/** As in Go's archive/tar, a pax header has no device numbers. */
function finishPax(into: Uint8Array, at: number, sum: number, size: number): void {
  let total = sum + 0x78 + octal(into, at + FIELD.mode[0], FIELD.mode[1], 0);
  total += octal(into, at + FIELD.uid[0], FIELD.uid[1], 0);
  total += octal(into, at + FIELD.gid[0], FIELD.gid[1], 0);
  total += octal(into, at + FIELD.size[0], FIELD.size[1], size);
  total += octal(into, at + FIELD.mtime[0], FIELD.mtime[1], 0);
  into[at + FIELD.typeflag[0]] = 0x78;
  seal(into, at, total);
}

function seal(into: Uint8Array, at: number, sum: number): void {
  const total = sum + copy(MAGIC, 0, MAGIC.length, into, at + FIELD.magic[0]) + CHECKSUM_LENGTH * 0x20;
  octal(into, at + CHECKSUM, CHECKSUM_LENGTH - 1, total);
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
