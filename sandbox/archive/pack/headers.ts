/**
 * Headers as gVisor writes them, which is how Go's archive/tar does: a ustar block, with a pax header in front only where
 * the block cannot say it. No user or group names, no global headers, records sorted by key.
 */
import { type ByteString, byteStringOf, toBuffer } from '../codec/bytes';
import { BLOCK, FIELD, headerSum } from '../codec/header';
import { fitsOctal, writeOctal } from '../codec/numbers';
import { paxRecord } from '../codec/pax';
import { formatTime, type Timestamp } from '../codec/time';
import { type Xattr, xattrRecord } from '../codec/xattrs';

/** The types that are written. */
export type Type = '0' | '1' | '2' | '3' | '4' | '5' | '6';

export interface OutEntry {
  /** `./a/b`, of directories with a slash behind it. */
  readonly name: ByteString;
  readonly type: Type;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
  /** Bytes that follow the headers. */
  readonly stored?: number;
  readonly linkname?: ByteString;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: readonly Xattr[];
  /** Size of a sparse file, version 1.0 of GNU tar's format. */
  readonly realSize?: number;
}

type Records = Map<ByteString, Uint8Array>;

// eslint-disable-next-line no-control-regex -- what is not ASCII, or NUL
const NOT_ASCII = /[^\x01-\x7f]/;
const NOT_ASCII_EACH = new RegExp(NOT_ASCII, 'g');
const NAME_LENGTH = FIELD.name[1];
const PREFIX_LENGTH = FIELD.prefix[1];

/** Where the block of an entry is put together: a million of them would otherwise be a million allocations. */
const SCRATCH = Buffer.alloc(BLOCK);

/** All headers of an entry, of whatever kind: a view that is good until the next call. */
export function encodeHeaders(entry: OutEntry): Buffer {
  const records = recordsOf(entry);
  const name = entry.realSize === undefined ? entry.name : sparseName(entry.name);
  if (records.size === 0) {
    const split = splitName(name)!;
    return encodeBlock(entry, split.name, split.prefix);
  }
  return Buffer.concat([encodePax(entry.name, records), encodeBlock(entry, toAscii(name), '')]);
}

function recordsOf(entry: OutEntry): Records {
  const records: Records = new Map();
  const set = (key: string, value: string): void => void records.set(byteStringOf(key), Buffer.from(value, 'latin1'));
  const { name, linkname = '', uid, gid, mtime, stored = 0 } = entry;
  if (!fitsOctal(uid, FIELD.uid[1])) set('uid', `${uid}`);
  if (!fitsOctal(gid, FIELD.gid[1])) set('gid', `${gid}`);
  if (!fitsOctal(stored, FIELD.size[1])) set('size', `${stored}`);
  if (mtime.nanoseconds !== 0 || !fitsOctal(mtime.seconds, FIELD.mtime[1])) set('mtime', formatTime(mtime));
  if (linkname.length > FIELD.linkname[1] || NOT_ASCII.test(linkname)) set('linkpath', linkname);
  for (const xattr of entry.xattrs ?? []) {
    const { key, value } = xattrRecord(xattr);
    records.set(key, value);
  }
  if (entry.realSize !== undefined) {
    set('GNU.sparse.major', '1');
    set('GNU.sparse.minor', '0');
    set('GNU.sparse.name', name);
    set('GNU.sparse.realsize', `${entry.realSize}`);
  } else if (splitName(name) === undefined || (records.size > 0 && name.length > NAME_LENGTH)) {
    set('path', name);
  }
  return records;
}

/** The name as the fields of a ustar block hold it; `undefined` when they cannot. */
function splitName(name: string): { name: string; prefix: string } | undefined {
  if (NOT_ASCII.test(name)) return undefined;
  if (name.length <= NAME_LENGTH) return { name, prefix: '' };
  // The final slash of a directory is not where to split.
  const slash = name.slice(0, Math.min(name.length - 1, PREFIX_LENGTH + 1)).lastIndexOf('/');
  if (slash <= 0 || name.length - slash - 1 > NAME_LENGTH) return undefined;
  return { name: name.slice(slash + 1), prefix: name.slice(0, slash) };
}

/** Where GNU tar puts what an extractor without sparse files is to unpack: it shows that this is not the file itself. */
function sparseName(name: ByteString): ByteString {
  const slash = name.lastIndexOf('/') + 1;
  return `${name.slice(0, slash)}GNUSparseFile.0/${name.slice(slash)}` as ByteString;
}

/** The name for a block whose pax header has the real one. */
function toAscii(name: string): string {
  const ascii = name.replace(NOT_ASCII_EACH, '');
  if (ascii.length <= NAME_LENGTH) return ascii;
  // A cut that leaves a final slash would make old readers take a file for a directory.
  return ascii.slice(0, NAME_LENGTH).replace(/\/+$/, '');
}

function encodePax(name: ByteString, records: Records): Buffer {
  const keys = [...records.keys()].sort();
  const data = Buffer.concat(keys.map((key) => paxRecord(key, records.get(key)!)));
  const block = Buffer.alloc(BLOCK);
  block.write(toAscii(paxName(name)).replace(/\/+$/, ''), 0, 'latin1');
  for (const field of ['mode', 'uid', 'gid', 'mtime'] as const) writeOctal(block, FIELD[field][0], FIELD[field][1], 0);
  writeOctal(block, FIELD.size[0], FIELD.size[1], data.length);
  block.write('x', FIELD.typeflag[0], 'latin1');
  seal(block);
  return Buffer.concat([block, data, Buffer.alloc(-data.length & (BLOCK - 1))]);
}

/** `./a/b` → `a/PaxHeaders.0/b`. */
function paxName(name: string): string {
  const slash = name.lastIndexOf('/') + 1;
  return `${name.slice(0, slash)}PaxHeaders.0/${name.slice(slash)}`.replace(/^(\.\/)+/, '');
}

function encodeBlock(entry: OutEntry, name: string, prefix: string): Buffer {
  const block = SCRATCH.fill(0);
  // What does not fit is in the pax header, and the field is zero.
  const number = (field: 'mode' | 'uid' | 'gid' | 'size' | 'mtime' | 'devmajor' | 'devminor', value: number): void => {
    const [at, length] = FIELD[field];
    writeOctal(block, at, length, fitsOctal(value, length) ? value : 0);
  };
  block.write(name, FIELD.name[0], 'latin1');
  number('mode', entry.mode & 0o7777);
  number('uid', entry.uid);
  number('gid', entry.gid);
  number('size', entry.stored ?? 0);
  number('mtime', entry.mtime.seconds);
  block.write(entry.type, FIELD.typeflag[0], 'latin1');
  toBuffer(toAscii(entry.linkname ?? '') as ByteString).copy(block, FIELD.linkname[0]);
  number('devmajor', entry.major ?? 0);
  number('devminor', entry.minor ?? 0);
  block.write(prefix, FIELD.prefix[0], 'latin1');
  seal(block);
  return block;
}

function seal(block: Buffer): void {
  block.write('ustar\x0000', FIELD.magic[0], 'latin1');
  const [at, length] = FIELD.checksum;
  writeOctal(block, at, length - 1, headerSum(block, 0));
  block[at + length - 1] = 0x20;
}
