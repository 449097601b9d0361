/** Reading snapshots back in tests, and comparing two of them without regard to the order of their entries. */
import { createHash } from 'node:crypto';

/** One entry as it stands in the archive. Names are latin1, one character a byte, so that any name survives. */
export interface ReadEntry {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: string;
  readonly linkname: string;
  readonly device: string;
  readonly xattrs: Readonly<Record<string, string>>;
  readonly content: Buffer;
}

const block = 512;

function text(header: Buffer, offset: number, length: number): string {
  const field = header.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? length : end).toString('latin1');
}

function number(header: Buffer, offset: number, length: number): number {
  if ((header[offset]! & 0x80) === 0) return parseInt(text(header, offset, length).trim() || '0', 8);
  let value = BigInt(header[offset]! & 0x7f);
  for (let at = offset + 1; at < offset + length; at++) value = (value << 8n) | BigInt(header[at]!);
  return Number(value);
}

function paxRecords(body: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < body.length;) {
    const blank = body.indexOf(0x20, at);
    const length = parseInt(body.subarray(at, blank).toString('latin1'), 10);
    const equals = body.indexOf(0x3d, blank);
    records.set(body.subarray(blank + 1, equals).toString('latin1'), body.subarray(equals + 1, at + length - 1));
    at += length;
  }
  return records;
}

/** All entries in order. Throws on anything that is not a plain ustar or pax archive with two closing zero blocks. */
export function readTar(archive: Buffer): ReadEntry[] {
  const entries: ReadEntry[] = [];
  let extended = new Map<string, Buffer>();
  for (let at = 0; ;) {
    const header = archive.subarray(at, at + block);
    if (header.length < block) throw new Error(`the archive ends at byte ${at} without its closing blocks`);
    if (header.every((byte) => byte === 0)) {
      if (!archive.subarray(at).every((byte) => byte === 0)) throw new Error(`data after the zero block at byte ${at}`);
      if (archive.length - at < 2 * block) throw new Error('only one closing zero block');
      return entries;
    }
    const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0);
    if (sum !== number(header, 148, 8)) throw new Error(`wrong header checksum at byte ${at}`);
    const flag = String.fromCharCode(header[156]!);
    const claimed = extended.get('size');
    const size = claimed === undefined ? number(header, 124, 12) : Number(claimed.toString());
    const body = archive.subarray(at + block, at + block + size);
    if (body.length < size) throw new Error(`the body of the entry at byte ${at} is cut short`);
    at += block + Math.ceil(size / block) * block;
    if (flag === 'x') {
      extended = paxRecords(body);
      continue;
    }
    if (!'0123456\0'.includes(flag)) throw new Error(`entry type ${JSON.stringify(flag)} before byte ${at}`);
    entries.push(entryOf(header, flag, body, extended));
    extended = new Map();
  }
}

function entryOf(header: Buffer, flag: string, content: Buffer, extended: Map<string, Buffer>): ReadEntry {
  const prefix = text(header, 345, 155);
  const plainName = prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`;
  const recorded = (key: string): string | undefined => extended.get(key)?.toString('latin1');
  const xattrs: Record<string, string> = {};
  for (const [key, value] of extended) {
    if (key.startsWith('SCHILY.xattr.')) xattrs[key.slice('SCHILY.xattr.'.length)] = value.toString('latin1');
  }
  return {
    name: recorded('GNU.sparse.name') ?? recorded('path') ?? plainName,
    type: flag === '\0' ? '0' : flag,
    mode: number(header, 100, 8),
    uid: Number(recorded('uid') ?? number(header, 108, 8)),
    gid: Number(recorded('gid') ?? number(header, 116, 8)),
    mtime: recorded('mtime') ?? String(number(header, 136, 12)),
    linkname: recorded('linkpath') ?? text(header, 157, 100),
    device: flag === '3' || flag === '4' ? `${number(header, 329, 8)}:${number(header, 337, 8)}` : '',
    xattrs,
    content: extended.has('GNU.sparse.major')
      ? expanded(content, Number(recorded('GNU.sparse.realsize')))
      : Buffer.from(content),
  };
}

/** GNU's sparse format 1.0: how many runs of data there are, offset and length of each, a number a line in whole blocks, and the data. */
function expanded(stored: Buffer, size: number): Buffer {
  let at = 0;
  const next = (): number => {
    const end = stored.indexOf(0x0a, at);
    const value = Number(stored.toString('latin1', at, end));
    at = end + 1;
    return value;
  };
  const runs = Array.from({ length: next() }, () => [next(), next()] as const);
  let from = Math.ceil(at / block) * block;
  const whole = Buffer.alloc(size);
  for (const [offset, length] of runs) from += stored.copy(whole, offset, from, from + length);
  return whole;
}

/**
 * What an archive says, apart from the order in which it says it: a sorted line for each file. Names that are hard links of
 * one another stand on one line, as which of them comes first as a file is a matter of order too.
 */
export function describeTree(entries: readonly ReadEntry[]): string[] {
  const groups = new Map<string, { entry: ReadEntry; names: string[] }>();
  for (const entry of entries) {
    const group = entry.type === '1' ? groups.get(entry.linkname) : undefined;
    if (entry.type === '1' && group === undefined)
      throw new Error(`${entry.name}: link to ${entry.linkname}, which never came`);
    const joined = group ?? { entry, names: [] };
    joined.names.push(entry.name);
    groups.set(entry.name, joined);
  }
  return [...new Set(groups.values())].map(({ entry, names }) => describeEntry(entry, names)).sort();
}

function describeEntry(entry: ReadEntry, names: string[]): string {
  const { type, uid, gid, linkname, device, xattrs, content } = entry;
  // A whiteout says "not here": it has no owner and no time that anybody could see.
  if (type === '3' && device === '0:0') return JSON.stringify({ whiteouts: [...names].sort() });
  const mtime = entry.mtime.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');
  return JSON.stringify({
    names: [...names].sort(),
    type,
    mode: entry.mode.toString(8),
    owner: `${uid}:${gid}`,
    mtime,
    linkname,
    device,
    xattrs: Object.entries(xattrs).sort(),
    content: `${content.length} ${createHash('sha256').update(content).digest('hex')}`,
  });
}

/** The names of an archive without the leading `./` and the trailing `/`, sorted; the root itself is ''. */
export function plainNames(entries: readonly ReadEntry[]): string[] {
  return entries.map(({ name }) => name.replace(/^\.\//, '').replace(/\/$/, '')).sort();
}
