/** The directory that CRIU's log and figures are left in: the host's root writes there, at a path that others have a say in. */
import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { SiltError } from '../../errors';

export interface WorkPath {
  readonly path: string;
  /**
   * Nobody has named it, it was found by what a spec has: it must be there and root's, with every directory above it, and no part of its
   * path a symlink. Otherwise it is what the caller wants, and is made when it is not there.
   */
  readonly found?: boolean;
}

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * Writes a file there, instead of one of that name that there may be. Never through a symlink, nor into a file that others have linked.
 * @throws SiltError CHECKPOINT_REFUSED for a found directory that is not root's, or Error of the file system.
 */
export function writeInWorkPath({ path, found = false }: WorkPath, name: string, content: string | Buffer): void {
  if (!found) mkdirSync(path, { recursive: true, mode: 0o700 });
  const directory = found ? openFound(path) : openSync(path, DIRECTORY);
  try {
    const file = below(directory, name);
    // A directory of that name is nothing of CRIU's: it stays, and the open fails.
    if (lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === false) rmSync(file, { force: true });
    const how = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = openSync(file, how, 0o600);
    try {
      writeFileSync(fd, content);
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(directory);
  }
}

/** Opens a directory from the root on, step by step: what has been looked at is what the next step starts from. */
function openFound(path: string): number {
  let directory = openSync('/', DIRECTORY);
  try {
    for (const name of path.split('/').filter(Boolean)) {
      const next = openSync(below(directory, name), DIRECTORY | constants.O_NOFOLLOW);
      closeSync(directory);
      directory = next;
      if (fstatSync(directory).uid === 0) continue;
      const message = `nothing is written to ${path}: its part ${name} belongs to another user than root`;
      throw new SiltError('CHECKPOINT_REFUSED', message, { path });
    }
    return directory;
  } catch (error) {
    closeSync(directory);
    throw error;
  }
}

/** A name in an open directory; proc_pid_fd(5). */
function below(directory: number, name: string): string {
  return `/proc/self/fd/${directory}/${name}`;
}
