/** Archives that are small and plain, read whole into memory: what they make can be written down beforehand, as a program. */
import { fstatSync } from 'node:fs';
import type { ByteString } from '../codec/bytes';
import { joinPath } from '../codec/names';
import type { Timestamp } from '../codec/time';
import type { Entry } from '../entry';
import { ArchiveReader } from './reader';
import { openSource } from './source';

/** What has a name in a directory. `contents` is what a file holds, or where a symbolic link leads. */
export interface SmallEntry {
  readonly kind: 'directory' | 'file' | 'symlink' | 'whiteout';
  readonly name: ByteString;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
  readonly contents: Buffer;
  readonly children: SmallEntry[];
}

export interface SmallArchive {
  /** The root directory itself, where the archive has an entry for it. */
  readonly root: SmallEntry | undefined;
  readonly children: readonly SmallEntry[];
}

const MAX_SIZE = 1 << 20;
const MAX_ENTRIES = 256;
const MAX_DEPTH = 32;
const KINDS: Readonly<Partial<Record<Entry['kind'], SmallEntry['kind']>>> = {
  directory: 'directory',
  file: 'file',
  symlink: 'symlink',
};

/**
 * Reads an archive whose entries are directories, files without holes, symbolic links and whiteouts, all without extended attributes,
 * each once and behind the directory that it is in.
 * @returns undefined for any other and for larger ones, which is no error
 * @throws SiltError ARCHIVE_INVALID, ARCHIVE_TRUNCATED.
 */
export async function readSmall(archiveFd: number): Promise<SmallArchive | undefined> {
  if (fstatSync(archiveFd).size > MAX_SIZE) return undefined;
  const source = await openSource(archiveFd);
  try {
    if (source.compressed) return undefined;
    const reader = new ArchiveReader(source);
    const children: SmallEntry[] = [];
    const known = new Map<ByteString, SmallEntry>();
    let root: SmallEntry | undefined;
    let count = 0;
    for (let entry = await reader.next(); entry; entry = await reader.next()) {
      const small = plain(entry, known);
      if (small === undefined || ++count > MAX_ENTRIES || entry.path.depth > MAX_DEPTH) return undefined;
      const { dir, base } = entry.path;
      if (base === '') {
        if (root !== undefined || small.kind !== 'directory') return undefined;
        root = small;
        continue;
      }
      const path = joinPath(dir, base);
      const parent = dir === '' ? undefined : known.get(dir);
      if (known.has(path) || (dir !== '' && parent?.kind !== 'directory')) return undefined;
      known.set(path, small);
      (parent?.children ?? children).push(small);
    }
    return { root, children };
  } finally {
    source.close();
  }
}

function plain(entry: Entry, known: ReadonlyMap<ByteString, SmallEntry>): SmallEntry | undefined {
  const { mode, uid, gid, mtime, body, target, link } = entry;
  // All whiteouts are hard links to the first; one that has an inode of its own is as good.
  const linked = link && known.get(joinPath(link.dir, link.base));
  const isDeletion = entry.kind === 'char' ? entry.major === 0 && entry.minor === 0 : linked?.kind === 'whiteout';
  const kind = isDeletion ? 'whiteout' : KINDS[entry.kind];
  if (kind === undefined || entry.xattrs.length > 0) return undefined;
  if (kind === 'file' && (body?.map || body?.inline === undefined)) return undefined;
  // The reader's buffer is another one by the next entry.
  const contents =
    kind === 'file' ? Buffer.from(body!.inline!.subarray(body!.inlineAt, body!.inlineAt! + body!.stored)) : target;
  return { kind, name: entry.path.base, mode, uid, gid, mtime, contents: contents ?? Buffer.alloc(0), children: [] };
}
