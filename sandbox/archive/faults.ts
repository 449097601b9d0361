/** The errors of archives. Each names the entry, in printable form, and the byte offset where it begins. */
import { type ErrorCode, type ErrorDetails, SiltError } from '../../errors';
import { type ByteString, printable } from './codec/bytes';

/** What an error is about. */
export interface Place {
  /** The entry's name as the archive spells it; none when the header itself cannot be read. */
  readonly name?: Buffer | ByteString | undefined;
  /** Byte offset in the archive, of the decompressed one if it is compressed. */
  readonly offset: number;
}

function describe({ name, offset }: Place): string {
  return name === undefined ? `archive, at byte ${offset}` : `archive entry "${printable(name)}" at byte ${offset}`;
}

/** The details that go with an error about this place. */
export function placeDetails({ name, offset }: Place): ErrorDetails {
  return name === undefined ? { offset } : { path: printable(name), offset };
}

export function archiveInvalid(place: Place, what: string): SiltError {
  return new SiltError('ARCHIVE_INVALID', `${describe(place)}: ${what}`, placeDetails(place));
}

export function archiveTruncated(place: Place, what: string): SiltError {
  return new SiltError('ARCHIVE_TRUNCATED', `${describe(place)}: ${what}`, placeDetails(place));
}

/** Errnos that are the archive's fault, and what they mean for people. */
const BLAME: Readonly<Record<string, readonly [code: ErrorCode, meaning: string]>> = {
  ENOSPC: ['NO_SPACE', 'the filesystem is full; give the container more room or use a smaller archive'],
  EDQUOT: ['NO_SPACE', 'the quota is used up; give the container more room or use a smaller archive'],
  EMLINK: ['NO_SPACE', 'the filesystem allows no more hard links to one file'],
  EFBIG: ['ARCHIVE_INVALID', 'the file is larger than the filesystem can hold'],
  ELOOP: ['ARCHIVE_INVALID', 'its name leads through a symbolic link'],
  EXDEV: ['ARCHIVE_INVALID', 'its name leads out of the root'],
  ENOTDIR: ['ARCHIVE_INVALID', 'its name leads through something that is not a directory'],
  ENAMETOOLONG: ['ARCHIVE_INVALID', 'its name or its link target is too long'],
  ENODATA: ['ARCHIVE_TRUNCATED', 'the archive ends in the middle of its contents'],
};

/** What the errno of one step means. */
const BLAME_OF_STEP: typeof BLAME = {
  'setting its owner: EINVAL': [
    'ARCHIVE_INVALID',
    'its owner or group has no id in the user namespace of the container',
  ],
};

/** The error for a system call that failed on behalf of an entry. `doing` is a phrase such as `creating the file`. */
export function entryFailure(place: Place, doing: string, errno: string): SiltError {
  const [code, meaning] = BLAME_OF_STEP[`${doing}: ${errno}`] ?? BLAME[errno] ?? (['SYSCALL_FAILED', ''] as const);
  const reason = meaning === '' ? errno : `${errno}, ${meaning}`;
  return new SiltError(code, `${describe(place)}: ${doing}: ${reason}`, { ...placeDetails(place), errno });
}
