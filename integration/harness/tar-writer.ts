/**
 * A small tar writer (POSIX.1-1988 ustar with pax `x` records), so that images and seeds, broken ones included, are the same
 * bytes on every machine.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type TarType = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo';

const typeFlags: Record<TarType, string> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

export interface TarEntry {
  readonly name: string | Buffer;
  /** `file` unless told. */
  readonly type?: TarType;
  readonly content?: string | Buffer;
  /** 0644, directories 0755, unless told. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds; 1700000000 unless told, so that archives are reproducible. */
  readonly mtime?: number;
  readonly linkname?: string | Buffer;
  readonly device?: { readonly major: number; readonly minor: number };
  /** Extended header records, such as `SCHILY.xattr.user.note`. */
  readonly pax?: Readonly<Record<string, string | Buffer>>;
  /** Writes this as the size field in place of the content's length: for broken archives. */
  readonly claimedSize?: number;
  /** Writes a wrong checksum: for broken archives. */
  readonly badChecksum?: boolean;
}

const block = 512;

function padded(content: Buffer): Buffer {
  const rest = content.length % block;
  return rest === 0 ? content : Buffer.concat([content, Buffer.alloc(block - rest)]);
}

/** A number field: octal with a NUL, or base 256 (GNU, also read by every other tar) when it does not fit. */
function writeNumber(header: Buffer, offset: number, length: number, value: number): void {
  const octal = value.toString(8);
  if (value >= 0 && octal.length < length) {
    header.write(octal.padStart(length - 1, '0'), offset, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let at = offset + length - 1; at >= offset; at--) {
    header[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  header[offset]! |= 0x80;
}

function headerBlock(entry: TarEntry, flag: string, name: Buffer, linkname: Buffer, size: number): Buffer {
  const header = Buffer.alloc(block);
  const splitAt = name.length > 100 ? name.lastIndexOf('/', 154) : -1;
  const fits = name.length <= 100 || (splitAt > 0 && name.length - splitAt - 1 <= 100);
  name.copy(header, 0, fits && splitAt > 0 ? splitAt + 1 : 0, fits ? name.length : 100);
  if (fits && splitAt > 0) name.copy(header, 345, 0, splitAt);
  writeNumber(header, 100, 8, entry.mode ?? (flag === '5' ? 0o755 : 0o644));
  writeNumber(header, 108, 8, entry.uid ?? 0);
  writeNumber(header, 116, 8, entry.gid ?? 0);
  writeNumber(header, 124, 12, entry.claimedSize ?? size);
  writeNumber(header, 136, 12, entry.mtime ?? 1_700_000_000);
  header.write('        ', 148, 'latin1');
  header.write(flag, 156, 'latin1');
  linkname.copy(header, 157, 0, Math.min(100, linkname.length));
  header.write('ustar\0' + '00', 257, 'latin1');
  writeNumber(header, 329, 8, entry.device?.major ?? 0);
  writeNumber(header, 337, 8, entry.device?.minor ?? 0);
  let sum = entry.badChecksum === true ? 1 : 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** One pax record: its own length in decimal, a blank, `key=value`, a newline. */
function paxRecord(key: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as string), Buffer.from('\n')]);
  let length = body.length + 1;
  while (`${length}`.length + body.length !== length) length = `${length}`.length + body.length;
  return Buffer.concat([Buffer.from(`${length}`), body]);
}

/** The bytes of one entry: its extended header if it needs one, its header, its content in whole blocks. */
export function tarEntry(entry: TarEntry): Buffer {
  const type = entry.type ?? 'file';
  const name = Buffer.from(entry.name as string);
  const linkname = Buffer.from((entry.linkname ?? '') as string);
  const content = Buffer.from((entry.content ?? '') as string);
  const records: Record<string, string | Buffer> = { ...entry.pax };
  const splitAt = name.lastIndexOf('/', 154);
  if (name.length > 100 && (splitAt <= 0 || name.length - splitAt - 1 > 100)) records['path'] ??= name;
  if (linkname.length > 100) records['linkpath'] ??= linkname;
  const parts: Buffer[] = [];
  if (Object.keys(records).length > 0) {
    const body = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)));
    parts.push(headerBlock({ name: '' }, 'x', Buffer.from('PaxHeaders/x'), Buffer.alloc(0), body.length), padded(body));
  }
  parts.push(headerBlock(entry, typeFlags[type], name, linkname, content.length), padded(content));
  return Buffer.concat(parts);
}

/** A whole archive, closed by two zero blocks. */
export function tarArchive(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(2 * block)]);
}

/** `sha256:…` of some bytes, as OCI writes it. */
export function digest(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Writes an archive with /seeded, which holds the name, to a directory. @returns its path. */
export function writeNamedSeed(directory: string, name: string): string {
  const path = join(directory, `${name}.tar`);
  writeFileSync(
    path,
    tarArchive([
      { name: './', type: 'directory' },
      { name: './seeded', content: name },
    ]),
  );
  return path;
}
