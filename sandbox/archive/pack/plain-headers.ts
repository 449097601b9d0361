/**
 * The headers of most entries: an ASCII name that fits, ids and sizes that fit, nothing for a pax header but nanoseconds. They are put
 * together in place, because with a million files allocations cost more than reading them.
 */
import type { ByteString } from '../codec/bytes';
import { BLOCK, FIELD } from '../codec/header';
import { fitsOctal, writeOctal } from '../codec/numbers';
import type { OutEntry } from './headers';

const [NAME, NAME_LENGTH] = FIELD.name;
const [CHECKSUM, CHECKSUM_LENGTH] = FIELD.checksum;
const [MTIME] = FIELD.mtime;
/** What the name of a pax header has more than its entry's. */
const PAX_NAME = 'PaxHeaders.0/';
const MOST_NAME = NAME_LENGTH - PAX_NAME.length;
const NEWLINE = 0x0a;

/** A pax header, its records, the entry's own header. */
const BLOCKS = Buffer.alloc(3 * BLOCK);
const WITH_PAX = BLOCKS;
const WITHOUT_PAX = BLOCKS.subarray(2 * BLOCK);
for (const at of [0, 2 * BLOCK]) {
  for (const field of ['mode', 'uid', 'gid', 'size', 'mtime', 'devmajor', 'devminor'] as const) {
    // As in Go's archive/tar, a pax header has no device numbers.
    if (at > 0 || !field.startsWith('dev')) writeOctal(BLOCKS, at + FIELD[field][0], FIELD[field][1], 0);
  }
  BLOCKS.write('ustar\x0000', at + FIELD.magic[0], 'latin1');
  BLOCKS[at + CHECKSUM + CHECKSUM_LENGTH - 1] = 0x20;
}
BLOCKS.write('x', FIELD.typeflag[0], 'latin1');

/** How many bytes of the last names and records are still there. */
let [paxNameLength, recordLength, nameLength] = [0, 0, 0];

/** All headers of a plain entry, a view that is good until the next call; `undefined` for an entry that is not one. */
export function encodePlain(entry: OutEntry): Buffer | undefined {
  const { name, mtime, uid, gid, stored = 0 } = entry;
  if (entry.linkname !== undefined || entry.xattrs?.length || entry.realSize !== undefined || entry.major)
    return undefined;
  if (entry.minor || name.length > MOST_NAME || !isAscii(name)) return undefined;
  if (
    uid > 0o7777777 ||
    gid > 0o7777777 ||
    !fitsOctal(stored, FIELD.size[1]) ||
    !fitsOctal(mtime.seconds, FIELD.mtime[1])
  )
    return undefined;
  nameLength = writeName(2 * BLOCK, name, nameLength);
  const at = 2 * BLOCK;
  writeOctal(BLOCKS, at + FIELD.mode[0], FIELD.mode[1], entry.mode & 0o7777);
  writeOctal(BLOCKS, at + FIELD.uid[0], FIELD.uid[1], uid);
  writeOctal(BLOCKS, at + FIELD.gid[0], FIELD.gid[1], gid);
  writeOctal(BLOCKS, at + FIELD.size[0], FIELD.size[1], stored);
  writeOctal(BLOCKS, at + MTIME, FIELD.mtime[1], mtime.seconds);
  BLOCKS[at + FIELD.typeflag[0]] = entry.type.charCodeAt(0);
  seal(at, nameLength);
  if (mtime.nanoseconds === 0) return WITHOUT_PAX;
  paxNameLength = writeName(0, paxName(name), paxNameLength);
  recordLength = writeTimeRecord(mtime.seconds, mtime.nanoseconds, recordLength);
  writeOctal(BLOCKS, FIELD.size[0], FIELD.size[1], recordLength);
  seal(0, paxNameLength);
  return WITH_PAX;
}

function isAscii(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** `./a/b` → `a/PaxHeaders.0/b`, `./a/` → `a/PaxHeaders.0`. */
function paxName(name: ByteString): string {
  const slash = name.lastIndexOf('/') + 1;
  const full = `${name.slice(2, slash)}${slash < name.length ? PAX_NAME + name.slice(slash) : PAX_NAME.slice(0, -1)}`;
  return full;
}

/** @returns its length, for the next one to know what to clear. */
function writeName(at: number, name: string, before: number): number {
  for (let i = 0; i < name.length; i++) BLOCKS[at + NAME + i] = name.charCodeAt(i);
  for (let i = name.length; i < before; i++) BLOCKS[at + NAME + i] = 0;
  return name.length;
}

/** `30 mtime=1700000000.123456789\n` into the block of records. @returns its length. */
function writeTimeRecord(seconds: number, nanoseconds: number, before: number): number {
  let digits = 9;
  let part = nanoseconds;
  for (; part % 10 === 0; part /= 10) digits--;
  const whole = `${seconds}`;
  // Two digits for the length itself, a blank, `mtime=`, a point, a newline.
  const length = whole.length + digits + 11;
  const start = BLOCK;
  BLOCKS[start] = 0x30 + Math.floor(length / 10);
  BLOCKS[start + 1] = 0x30 + (length % 10);
  const text = ` mtime=${whole}.`;
  for (let i = 0; i < text.length; i++) BLOCKS[start + 2 + i] = text.charCodeAt(i);
  for (let i = start + length - 2, left = part, count = digits; count > 0; i--, count--, left = Math.floor(left / 10)) BLOCKS[i] = 0x30 + (left % 10); // prettier-ignore
  BLOCKS[start + length - 1] = NEWLINE;
  for (let i = length; i < before; i++) BLOCKS[start + i] = 0;
  return length;
}

/** The checksum: only what is in front of the prefix can be other than zero, and of the name only so much. */
function seal(at: number, name: number): void {
  let sum = CHECKSUM_LENGTH * 0x20;
  for (let i = at; i < at + name; i++) sum += BLOCKS[i]!;
  for (let i = at + FIELD.mode[0]; i < at + CHECKSUM; i++) sum += BLOCKS[i]!;
  sum += BLOCKS[at + FIELD.typeflag[0]]!;
  for (let i = at + FIELD.magic[0]; i < at + FIELD.prefix[0]; i++) sum += BLOCKS[i]!;
  writeOctal(BLOCKS, at + CHECKSUM, CHECKSUM_LENGTH - 1, sum);
}
