/** Applies an archive to the upper directory of a container. */
import type { OnWarning } from '../entry';
import type { SyscallRunner } from '../io/batch';
import { letOthersRun } from '../io/breath';
import type { Limits } from '../limits';
import { ArchiveReader } from '../reader/reader';
import { openSource } from '../reader/source';
import { PlainEntries, type PlainRunner } from './plain';
import type { Privileged } from './privileged';
import { type AllowDevice, Unpacker } from './unpacker';

export interface UnpackOptions {
  /** The native addon. */
  readonly runner: SyscallRunner & PlainRunner;
  /** A regular file, read from its beginning, or a stream in blocking mode. Plain, gzip or zstd. Borrowed. */
  readonly archiveFd: number;
  /** The upper's directory. Nothing else may change it meanwhile. Borrowed. */
  readonly upperFd: number;
  /** Answers what needs host root. */
  readonly privileged: Privileged;
  /** Which device nodes besides whiteouts are asked for; none by default. */
  readonly allowDevice?: AllowDevice;
  /** `upperFd` is a directory of an overlay that is mounted, and so deletions are made in place of whiteouts and opaque marks. */
  readonly merged?: boolean;
  readonly limits?: Partial<Limits>;
  readonly onWarning?: OnWarning;
  /** Looked at every so often; its reason is thrown. */
  readonly signal?: AbortSignal;
}

export interface UnpackResult {
  /** Entries in the archive, given twice or not. */
  readonly entries: number;
  /** Of the contents of all files. */
  readonly bytes: number;
  /** Is there an entry for the root directory? */
  readonly hasRoot: boolean;
}

/** How much of a stream is awaited before entries are made of it. */
const STREAM_PIECE = 512 << 10;

/**
 * Applies the archive. Must have the rights of root in the user namespace whose ids the archive's are. What is
 * made when it fails stays there: the caller throws the upper away. The process's umask is 0 meanwhile.
 *
 * @throws SiltError ARCHIVE_INVALID, ARCHIVE_TRUNCATED, NO_SPACE, each with the entry and its byte offset; SYSCALL_FAILED
 * for what is not the archive's fault; HOST_UNSUPPORTED for zstd on an old Node.
 */
export async function unpack(options: UnpackOptions): Promise<UnpackResult> {
  const { onWarning = () => undefined, allowDevice = () => false, merged = false, signal } = options;
  const source = await openSource(options.archiveFd);
  const reader = new ArchiveReader(source, options.limits, onWarning);
  let unpacker: Unpacker | undefined;
  // Files are made with the modes that they are to have.
  const umask = process.umask(0);
  try {
    unpacker = new Unpacker({ ...options, reader, allowDevice, onWarning, merged });
    // A merged root wants to know of each entry.
    const plain = merged ? undefined : new PlainEntries(options.runner, reader, unpacker);
    let hasRoot = false;
    for (;;) {
      const isForOthers = plain?.apply() ?? true;
      const entry = isForOthers ? reader.tryNext() : 'more';
      if (entry === 'end') break;
      if (entry === 'more') {
        if (isForOthers) await reader.fill(reader.source.seekable ? 0 : STREAM_PIECE);
        await letOthersRun();
        signal?.throwIfAborted();
        continue;
      }
      hasRoot ||= entry.path.base === '';
      const later = unpacker.apply(entry);
      if (later) await later;
    }
    await reader.finish();
    await unpacker.finish();
    return { entries: reader.entries, bytes: reader.bytes, hasRoot };
  } finally {
    unpacker?.close();
    process.umask(umask);
    source.close();
  }
}
