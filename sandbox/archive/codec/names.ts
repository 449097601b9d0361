/** Names of entries: taken apart, and refused when they could mean something outside of the root. */
import { type ByteString, toByteString } from './bytes';

/** Where an entry belongs, below the archive's root. */
export interface EntryPath {
  /** The directory that it is in, `a/b`; empty for the root itself. */
  readonly dir: ByteString;
  /** Its own name; empty only for the archive's root. */
  readonly base: ByteString;
  readonly depth: number;
  /** The name ended in a slash. */
  readonly slash: boolean;
}

/** NAME_MAX of every Linux filesystem that can be an upper. */
export const MAX_COMPONENT = 255;

/**
 * Bytes of a name. The kernel takes 4096 (PATH_MAX), and so do most who write and read archives; those that go from directory to
 * directory, as this one does, reach more.
 */
export const MAX_NAME = 64 << 10;

const SLASH = 0x2f;

/**
 * Takes a name apart: leading and inner `.`, doubled and final slashes mean nothing. Gives the reason when it is absolute, has a
 * `..`, a NUL, a component that no filesystem can hold, more than `maxDepth` components, or more than 64 KiB.
 */
export function parsePath(raw: Buffer, maxDepth: number): EntryPath | string {
  if (raw.length > MAX_NAME) return `its name has ${raw.length} bytes; the limit is ${MAX_NAME}`;
  const name = toByteString(raw);
  if (name === '') return 'its name is empty';
  if (name.startsWith('/')) return 'its name is absolute';
  if (name.includes('\0')) return 'its name contains a NUL';
  let first = 0;
  while (name.startsWith('./', first)) first += 2;
  let last = name.length;
  while (last > first && name.charCodeAt(last - 1) === SLASH) last--;
  let depth = 0;
  let tidy = true;
  for (let start = first; start < last;) {
    let end = name.indexOf('/', start);
    if (end < 0) end = last;
    const length = end - start;
    if (length > MAX_COMPONENT)
      return `its name has a component of ${length} bytes; the longest possible is ${MAX_COMPONENT}`;
    if (length === 2 && name.startsWith('..', start)) return 'its name has a ".." component';
    if (length === 0 || (length === 1 && name[start] === '.')) tidy = false;
    else depth++;
    start = end + 1;
  }
  if (depth > maxDepth) return `its name has ${depth} components; the limit is ${maxDepth}`;
  let path = name.slice(first, last);
  if (!tidy)
    path = path
      .split('/')
      .filter((part) => part !== '' && part !== '.')
      .join('/');
  return { ...splitPath(path as ByteString), depth, slash: name.endsWith('/') };
}

/** The path below the root, `a/b/c`; empty for the root itself. */
export function joinPath(dir: ByteString, base: ByteString): ByteString {
  return (dir === '' ? base : `${dir}/${base}`) as ByteString;
}

/** The directory and the name of a path that {@link joinPath} made. */
export function splitPath(path: ByteString): { dir: ByteString; base: ByteString } {
  const slash = path.lastIndexOf('/');
  return { dir: path.slice(0, Math.max(slash, 0)) as ByteString, base: path.slice(slash + 1) as ByteString };
}
