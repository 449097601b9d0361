import { closeSync, constants, openSync, readdirSync, readFileSync, writeSync, type Dirent } from 'node:fs';
import path from 'node:path';
import { SiltError } from '../../errors';

/** Name of the errno of a failed node:fs call; anything else than a system call's failure is thrown on. */
export function errnoOf(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) throw error;
  return code;
}

/** The cgroup or its file is not there: ENODEV is what an open file of a removed cgroup answers. */
export function isGone(errno: string): boolean {
  return errno === 'ENOENT' || errno === 'ENODEV';
}

function explainRead(file: string, error: unknown): SiltError {
  const errno = errnoOf(error);
  const details = { path: file, syscall: 'read', errno };
  return new SiltError('SYSCALL_FAILED', `cannot read ${file}: ${errno}`, details, { cause: error });
}

/** The whole text of a cgroup file. Raises SYSCALL_FAILED. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw explainRead(file, error);
  }
}

/** Opens a cgroup file for reading; the caller closes the fd. Raises SYSCALL_FAILED. */
export function openText(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    throw explainRead(file, error);
  }
}

/** The same, undefined when the file is not there (no such controller, no such feature, cgroup removed). */
export function readTextIfPresent(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isGone(errnoOf(error))) return undefined;
    throw explainRead(file, error);
  }
}

/** What is in a cgroup's directory, nothing when it is gone. Raises SYSCALL_FAILED. */
export function listEntries(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if (isGone(errnoOf(error))) return [];
    throw explainRead(directory, error);
  }
}

/**
 * Writes with one write(2), as cgroup files want it, and without O_CREAT, under which a missing file would be EACCES.
 * Throws node's error; {@link explainWrite} puts it into words.
 */
export function writeText(file: string, value: string): void {
  const fd = openSync(file, constants.O_WRONLY | constants.O_TRUNC);
  try {
    writeSync(fd, value);
  } finally {
    closeSync(fd);
  }
}

/** Writes a control file of silt's own choice (freezer.state, cgroup.kill). Raises SYSCALL_FAILED. */
export function writeControl(file: string, value: string): void {
  try {
    writeText(file, value);
  } catch (error) {
    throw explainWrite({ file, value, error });
  }
}

/**
 * What an errno means at a file, where the kernel's one word is not enough. First match wins; file names without
 * directory.
 */
const MEANINGS: readonly (readonly [errno: string, file: RegExp, meaning: string])[] = [
  [
    'EBUSY',
    /^memory\.(memsw\.)?limit_in_bytes$/,
    'the limit is below what the cgroup uses, and the kernel could not reclaim enough',
  ],
  ['EINVAL', /^memory\.memsw\.limit_in_bytes$/, 'the memory+swap limit must not be below the memory limit'],
  ['EINVAL', /^memory\.limit_in_bytes$/, 'the memory limit must not be above the memory+swap limit'],
  [
    'EBUSY',
    /^cgroup\.subtree_control$/,
    'the parent cgroup has processes of its own, under which v2 allows no controllers',
  ],
  ['ENOENT', /^cgroup\.subtree_control$/, 'a controller is not switched on further up'],
  ['EINVAL', /^cpu\.(cfs_|max)/, 'the share is more than the parent cgroup allows, or the quota is below the burst'],
  ['EINVAL', /^cpu\.rt_/, 'the parent cgroups leave too little realtime (cpu.rt_runtime_us)'],
  ['EINVAL', /^cpu\.(shares|weight)/, 'an idle cgroup (cpu.idle 1) has no weight'],
  ['EACCES', /^cpuset\./, 'the list is not within the parent cgroup’s'],
  ['EINVAL', /^cpuset\./, 'the list names CPUs or memory nodes that this host does not have'],
  ['ERANGE', /^cpuset\./, 'the list names CPUs or memory nodes that this host does not have'],
  ['ENODEV', /^(blkio|io)\./, 'there is no such block device'],
  ['EOPNOTSUPP', /^(blkio|io)\./, 'the device’s I/O scheduler has no weights (BFQ does)'],
  ['EPERM', /^devices\.allow$/, 'the parent cgroup does not allow this device'],
  ['EINVAL', /^devices\./, 'the cgroup already has children, or the rule is malformed'],
  ['EBUSY', /^pids\.max$/, 'the cgroup already has more processes'],
];

const GENERAL: Readonly<Record<string, string>> = {
  EACCES: 'silt needs root on the host',
  EPERM: 'silt needs root on the host',
  EROFS: 'the cgroup filesystem is mounted read-only',
  ENOENT: 'the cgroup or this file of it is not there',
  ENODEV: 'the cgroup was removed meanwhile',
  EOPNOTSUPP: 'the cgroup is threaded or its parent is in an invalid state',
};

export interface FailedWrite {
  readonly file: string;
  readonly value: string;
  /** As node:fs threw it. */
  readonly error: unknown;
  /** Added to the message. */
  readonly note?: string;
}

/** SYSCALL_FAILED for a failed write, with file, value, errno and what that means there. */
export function explainWrite(failure: FailedWrite): SiltError {
  const { file, value, error, note = '' } = failure;
  const errno = errnoOf(error);
  const name = path.basename(file);
  const special = MEANINGS.find(([wanted, pattern]) => wanted === errno && pattern.test(name));
  const meaning = special?.[2] ?? GENERAL[errno];
  const because = [meaning, note].filter(Boolean).join('; ');
  const message = `cannot write ${JSON.stringify(value)} to ${file}: ${errno}${because === '' ? '' : ` (${because})`}`;
  return new SiltError('SYSCALL_FAILED', message, { path: file, syscall: 'write', errno }, { cause: error });
}
