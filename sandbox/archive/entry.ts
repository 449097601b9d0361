/** What the reader gives for each entry of an archive. */
import type { ByteString } from './codec/bytes';
import type { EntryPath } from './codec/names';
import type { SparseMap } from './codec/sparse';
import type { Timestamp } from './codec/time';
import type { Xattr } from './codec/xattrs';

export type EntryKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

/** Where the bytes of a regular file lie. */
export interface Body {
  /** Byte offset of the first stored byte in the archive. */
  readonly offset: number;
  /** Stored bytes. */
  readonly stored: number;
  /** Where the stored bytes belong; without a map they are the file. */
  readonly map?: SparseMap;
  /** The stored bytes themselves when they are few: they lie at `inlineAt` in this buffer until the reader's next call. */
  readonly inline?: Buffer;
  readonly inlineAt?: number;
}

export interface Entry {
  readonly kind: EntryKind;
  /** As the archive spells it, for messages. */
  readonly name: ByteString;
  readonly path: EntryPath;
  /** Byte offset of its first header, extended ones included. */
  readonly offset: number;
  /** Permissions with set-uid, set-gid and sticky bit. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
  /** Size of the regular file with its holes, 0 for everything else. */
  readonly size: number;
  readonly body?: Body;
  /** What a symbolic link contains. */
  readonly target?: Buffer;
  /** Which entry a hard link points to. */
  readonly link?: EntryPath;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: readonly Xattr[];
}

/** Something that was read or written in a lesser way than asked, but well enough to go on. */
export interface ArchiveWarning {
  /** Stable, for code. */
  readonly kind:
    'xattr-dropped' | 'end-missing' | 'socket-skipped' | 'mount-skipped' | 'id-unmapped' | 'changed' | 'too-deep';
  /** Printable name of the entry; empty for the archive as a whole. */
  readonly name: string;
}
/** Told of each with a sentence for people, which names the entry. */
export type OnWarning = (message: string, warning: ArchiveWarning) => void;
