import { createTwoFilesPatch } from 'diff';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { SiltError } from '../../errors';

/** A change of a configuration file that belongs to somebody else. */
export interface Edit {
  /** The file itself: a symbolic link has been followed. */
  readonly path: string;
  /** undefined: there is no file yet. */
  readonly before: string | undefined;
  readonly after: string;
}

/**
 * Works a change out; nothing is written.
 * @param change from the text, undefined when there is no file, to the new text or undefined for none
 * @throws SiltError ENGINE_CONFIG_INVALID when the file cannot be read as text, and what `change` throws, with the path in front
 */
export function planEdit(path: string, change: (before: string | undefined) => string | undefined): Edit | undefined {
  const { found, before } = readConfiguration(path);
  const after = change(before);
  return after === undefined || after === before ? undefined : { path: found, before, after };
}

/** @returns the file itself, symbolic links followed, and its text; no text when there is no file. */
function readConfiguration(path: string): { found: string; before: string | undefined } {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return { found: path, before: undefined };
  let bytes: Buffer;
  let found: string;
  try {
    found = realpathSync(path);
    // Reading a fifo would not end.
    if (!statSync(found).isFile()) throw new Error('it is no regular file');
    bytes = readFileSync(found);
  } catch (error) {
    const dangling = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw refused(path, dangling ? 'it is a symbolic link to what is not there' : (error as Error).message, error);
  }
  const before = bytes.toString('utf8');
  // What is no UTF-8 would be replaced on the way back.
  if (!Buffer.from(before, 'utf8').equals(bytes)) throw refused(path, 'it is not UTF-8');
  return { found, before };
}

export function refused(path: string, why: string, cause?: unknown): SiltError {
  const message = `${path} is left as it is: ${why}`;
  return new SiltError('ENGINE_CONFIG_INVALID', message, { path }, cause === undefined ? undefined : { cause });
}

/** The change as a unified diff, with three lines around each place. */
export function diffOf({ path, before, after }: Edit): string {
  const from = before === undefined ? '/dev/null' : path;
  const patch = createTwoFilesPatch(from, path, before ?? '', after, undefined, undefined, { context: 3 });
  return patch.replace(/^Index: .*\n/, '').replace(/^=+\n/, '');
}

/**
 * Carries a change out: the old file is kept under a name that was free, the new one has its owner and mode and appears whole.
 * @returns path of the old file, if there was one. @throws SiltError ENGINE_CONFIG_INVALID; the file is as before then.
 */
export function applyEdit({ path, before, after }: Edit): string | undefined {
  const fresh = `${path}.silt-${process.pid}`;
  let backup: string | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true });
    backup = before === undefined ? undefined : keepBackup(path);
    const fd = openSync(fresh, 'wx', 0o644);
    try {
      writeSync(fd, after);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (before !== undefined) {
      const { uid, gid, mode } = statSync(path);
      chownSync(fresh, uid, gid);
      chmodSync(fresh, mode & 0o7777);
    }
    renameSync(fresh, path);
    return backup;
  } catch (error) {
    rmSync(fresh, { force: true });
    if (backup !== undefined) rmSync(backup, { force: true });
    throw refused(path, `it cannot be written: ${(error as Error).message}`, error);
  }
}

/** GNU's names of numbered backups: `daemon.json.~1~`. */
function keepBackup(path: string): string {
  for (let number = 1; ; number++) {
    const backup = `${path}.~${number}~`;
    try {
      copyFileSync(path, backup, constants.COPYFILE_EXCL);
      return backup;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
