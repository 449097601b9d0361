/** Puts an entry together from its header and its extended headers, and refuses what no filesystem should be given. */
import { toByteString } from '../codec/bytes';
import type { Header } from '../codec/header';
import { type EntryPath, parsePath } from '../codec/names';
import { readXattrs, type Xattrs } from '../codec/xattrs';
import type { Body, Entry, EntryKind } from '../entry';
import { archiveInvalid, type Place } from '../faults';
import type { Extended } from './extended';

/** pax(1), GNU tar's and star's types that silt knows; 7 is a file that was once stored contiguously. */
const KINDS = new Map<string, EntryKind>([
  ['\0', 'file'],
  ['0', 'file'],
  ['7', 'file'],
  ['S', 'file'],
  ['1', 'hardlink'],
  ['2', 'symlink'],
  ['3', 'char'],
  ['4', 'block'],
  ['5', 'directory'],
  ['6', 'fifo'],
]);

const KNOWN_UNSUPPORTED = new Map([
  ['A', 'a Solaris ACL'],
  ['D', 'a directory of a GNU incremental dump'],
  ['M', 'the continuation of a file from another volume'],
  ['N', 'a long name of a very old GNU tar'],
]);

const MAX_ID = 0xfffffffe;
const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xfffff;
const MAX_TARGET = 4095;

/** What kind of entry the header announces; a name with a final slash is a directory, as before POSIX. */
export function kindOf(header: Header, stored: number, slash: boolean, place: Place): EntryKind {
  const kind = KINDS.get(header.type);
  if (kind === undefined) {
    const code = header.type.charCodeAt(0);
    const shown = code > 0x20 && code < 0x7f ? `"${header.type}"` : `0x${code.toString(16).padStart(2, '0')}`;
    throw archiveInvalid(
      place,
      `its type ${shown} is ${KNOWN_UNSUPPORTED.get(header.type) ?? 'unknown'}, which is not supported`,
    );
  }
  if (kind !== 'file' || !slash) return kind;
  if (stored > 0) throw archiveInvalid(place, 'its name ends in a slash, but it is a file with contents');
  return 'directory';
}

/** Do bytes follow the header? Whatever the size field of a link, a directory or a device says, none do. */
export function hasBody(type: string): boolean {
  return type === '0' || type === '\0' || type === '7' || type === 'S';
}

export interface Parts {
  readonly header: Header;
  readonly extended: Extended;
  readonly kind: EntryKind;
  readonly name: Buffer;
  readonly path: EntryPath;
  readonly linkname: Buffer;
  readonly place: Place;
  readonly size: number;
  readonly body: Body | undefined;
  readonly maxDepth: number;
  readonly onDropped: (reason: string) => void;
}

export function assemble(parts: Parts): Entry {
  const { header, extended, kind, path, place, body } = parts;
  if (path.base === '' && kind !== 'directory') {
    throw archiveInvalid(place, `it would replace the root directory by a ${kind}`);
  }
  const xattrs = kind === 'hardlink' ? [] : attributes(parts).list;
  return {
    kind,
    name: toByteString(parts.name),
    path,
    offset: place.offset,
    mode: header.mode & 0o7777,
    uid: id(extended.uid ?? header.uid, 'owner', place),
    gid: id(extended.gid ?? header.gid, 'group', place),
    mtime: extended.mtime ?? { seconds: time(header.mtime, place), nanoseconds: 0 },
    size: parts.size,
    ...(body && { body }),
    ...(kind === 'symlink' && { target: target(parts) }),
    ...(kind === 'hardlink' && { link: link(parts) }),
    ...device(parts),
    xattrs,
  };
}

function attributes({ extended, place, onDropped }: Parts): Xattrs {
  const xattrs = readXattrs(extended.records);
  if (typeof xattrs === 'string') throw archiveInvalid(place, xattrs);
  xattrs.dropped.forEach(onDropped);
  return xattrs;
}

function id(value: number, what: string, place: Place): number {
  if (value >= 0 && value <= MAX_ID) return value;
  throw archiveInvalid(place, `its ${what} is ${value}; ids go from 0 to ${MAX_ID}`);
}

function time(seconds: number, place: Place): number {
  if (Number.isFinite(seconds)) return seconds;
  throw archiveInvalid(place, 'its modification time is out of range');
}

function target({ linkname, place }: Parts): Buffer {
  if (linkname.length === 0) throw archiveInvalid(place, 'it is a symbolic link to nothing');
  if (linkname.includes(0)) throw archiveInvalid(place, 'the target of the symbolic link contains a NUL');
  if (linkname.length > MAX_TARGET) {
    throw archiveInvalid(
      place,
      `the target of the symbolic link has ${linkname.length} bytes; the most possible is ${MAX_TARGET}`,
    );
  }
  // A copy: the view would keep the reader's window, and may move before it is used.
  return Buffer.from(linkname);
}

function link({ linkname, place, maxDepth }: Parts): EntryPath {
  const path = parsePath(linkname, maxDepth);
  if (typeof path === 'string') throw archiveInvalid(place, `the hard link's target is refused: ${path}`);
  if (path.base === '') throw archiveInvalid(place, 'it is a hard link to the root directory');
  return path;
}

function device({ header, extended, kind, place }: Parts): { major: number; minor: number } {
  if (kind !== 'char' && kind !== 'block') return { major: 0, minor: 0 };
  const major = extended.major ?? header.major;
  const minor = extended.minor ?? header.minor;
  if (major < 0 || major > MAX_MAJOR || minor < 0 || minor > MAX_MINOR) {
    throw archiveInvalid(place, `its device number ${major}:${minor} is out of range`);
  }
  return { major, minor };
}

/** The name that counts for an entry, of those that its headers give. */
export function effectiveName(header: Header, extended: Extended, longName: Buffer | undefined): Buffer {
  return extended.sparse?.get('name') ?? extended.path ?? longName ?? header.name;
}
