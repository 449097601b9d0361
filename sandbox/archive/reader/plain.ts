/**
 * Entries like most: a regular file with a ustar header that its name fits into, perhaps with a pax header in front that says nothing
 * but the time. They are read without an object for each header; whatever looks different is left to the reader of all the rest.
 */
import type { ByteString } from '../codec/bytes';
import { BLOCK, FIELD, headerSum } from '../codec/header';
import { type EntryPath, MAX_COMPONENT, parsePath } from '../codec/names';

const [CHECKSUM, CHECKSUM_LENGTH] = FIELD.checksum;
const [NAME, NAME_LENGTH] = FIELD.name;
const [TYPE] = FIELD.typeflag;
const [MAGIC] = FIELD.magic;
const [PREFIX] = FIELD.prefix;
const USTAR = Buffer.from('ustar\x0000', 'latin1');
const MTIME = Buffer.from(' mtime=', 'latin1');
const REGULAR = 0x30;
const PAX = 0x78;
const ZERO = 0x30;
const SLASH = 0x2f;
const DOT = 0x2e;
const NEWLINE = 0x0a;
/** Up to here a number of seconds is exact, and of a length that archives have. */
const MOST_SECONDS_DIGITS = 12;

export class PlainEntries {
  readonly #maxDepth: number;
  /** The directory of the last entry: its bytes as the archive spells them, and what they mean. */
  readonly #directory = new Uint8Array(NAME_LENGTH);
  #directoryLength = -1;
  #depth = 0;

  /** What {@link read} has found: its directory, as the archive spells it and what that means, and where its own name is. */
  spelled = '' as ByteString;
  dir = '' as ByteString;
  baseAt = 0;
  baseLength = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  size = 0;
  seconds = 0;
  nanoseconds = 0;

  constructor(maxDepth: number) {
    this.#maxDepth = maxDepth;
  }

  /**
   * Reads the headers at `at` of what lies in front of `end`. @returns their length; 0 when they are others, or not all there, or
   * wrong in any way.
   */
  read(data: Buffer, at: number, end: number): number {
    if (at + BLOCK > end) return 0;
    if (data[at + TYPE] !== PAX) return this.#readFile(data, at, false) ? BLOCK : 0;
    if (at + 3 * BLOCK > end || !isSound(data, at)) return 0;
    const length = octal(data, at + FIELD.size[0], FIELD.size[1]);
    if (length < 0 || length > BLOCK || !this.#readTime(data, at + BLOCK, length)) return 0;
    return this.#readFile(data, at + 2 * BLOCK, true) ? 3 * BLOCK : 0;
  }

  #readFile(data: Buffer, at: number, hasTime: boolean): boolean {
    if (data[at + TYPE] !== REGULAR || data[at + PREFIX] !== 0 || !isSound(data, at)) return false;
    this.mode = octal(data, at + FIELD.mode[0], FIELD.mode[1]);
    this.uid = octal(data, at + FIELD.uid[0], FIELD.uid[1]);
    this.gid = octal(data, at + FIELD.gid[0], FIELD.gid[1]);
    this.size = octal(data, at + FIELD.size[0], FIELD.size[1]);
    const seconds = octal(data, at + FIELD.mtime[0], FIELD.mtime[1]);
    if (this.mode < 0 || this.uid < 0 || this.gid < 0 || this.size < 0 || seconds < 0) return false;
    this.mode &= 0o7777;
    if (!hasTime) {
      this.seconds = seconds;
      this.nanoseconds = 0;
    }
    return this.#readName(data, at + NAME);
  }

  #readName(data: Buffer, at: number): boolean {
    let end = at;
    let base = at;
    for (; end < at + NAME_LENGTH && data[end] !== 0; end++) if (data[end] === SLASH) base = end + 1;
    const length = end - base;
    if (length === 0 || length > MAX_COMPONENT || (data[base] === DOT && (length === 1 || (length === 2 && data[base + 1] === DOT)))) return false; // prettier-ignore
    if (!this.#isLastDirectory(data, at, base) && !this.#enter(data, at, base)) return false;
    this.baseAt = base;
    this.baseLength = length;
    return true;
  }

  base(data: Buffer): ByteString {
    return data.toString('latin1', this.baseAt, this.baseAt + this.baseLength) as ByteString;
  }

  /** As the archive spells it. */
  name(data: Buffer): ByteString {
    return (this.spelled + this.base(data)) as ByteString;
  }

  path(data: Buffer): EntryPath {
    return { dir: this.dir, base: this.base(data), depth: this.#depth, slash: false };
  }

  #isLastDirectory(data: Buffer, at: number, end: number): boolean {
    if (end - at !== this.#directoryLength) return false;
    for (let i = 0; i < this.#directoryLength; i++) if (data[at + i] !== this.#directory[i]) return false;
    return true;
  }

  #enter(data: Buffer, at: number, end: number): boolean {
    const spelled = data.toString('latin1', at, end);
    // Any name in it tells what its path is, and whether it may be one.
    const path = parsePath(Buffer.from(`${spelled}x`, 'latin1'), this.#maxDepth);
    if (typeof path === 'string') return false;
    this.#directoryLength = end - at;
    data.copy(this.#directory, 0, at, end);
    this.spelled = spelled as ByteString;
    this.dir = path.dir;
    this.#depth = path.depth;
    return true;
  }

  /** `30 mtime=1700000000.123456789\n`, and nothing else. */
  #readTime(data: Buffer, at: number, length: number): boolean {
    const end = at + length - 1;
    let i = at;
    let said = 0;
    for (; isDigit(data[i]!); i++) said = said * 10 + data[i]! - ZERO;
    if (said !== length || i - at !== 2 || data[end] !== NEWLINE) return false;
    for (let k = 0; k < MTIME.length; k++) if (data[i++] !== MTIME[k]) return false;
    const start = i;
    let seconds = 0;
    for (; i < end && isDigit(data[i]!); i++) seconds = seconds * 10 + data[i]! - ZERO;
    if (i === start || i - start > MOST_SECONDS_DIGITS) return false;
    let nanoseconds = 0;
    if (i < end) {
      if (data[i++] !== DOT || end - i > 9 || i === end) return false;
      for (let k = 0; k < 9; k++) {
        const digit = i + k < end ? data[i + k]! : ZERO;
        if (!isDigit(digit)) return false;
        nanoseconds = nanoseconds * 10 + digit - ZERO;
      }
    }
    this.seconds = seconds;
    this.nanoseconds = nanoseconds;
    return true;
  }
}

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= ZERO + 9;

/** Is it a ustar block with the right checksum? */
function isSound(data: Buffer, at: number): boolean {
  for (let i = 0; i < USTAR.length; i++) if (data[at + MAGIC + i] !== USTAR[i]) return false;
  return octal(data, at + CHECKSUM, CHECKSUM_LENGTH - 1) === headerSum(data, at);
}

/** A field full of octal digits with a NUL or a blank behind them; -1 for any other. */
function octal(data: Buffer, at: number, length: number): number {
  const last = at + length - 1;
  if (data[last] !== 0 && data[last] !== 0x20) return -1;
  let value = 0;
  for (let i = at; i < last; i++) {
    const digit = data[i]! - ZERO;
    if (digit < 0 || digit > 7) return -1;
    value = value * 8 + digit;
  }
  return value;
}
