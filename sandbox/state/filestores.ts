import { closeSync, constants, openSync, rmdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/**
 * The directory of filestores in a root filesystem on the host. It has one name for all containers, so that each of several that have
 * one root filesystem can hide those of the others too, also of those that come later.
 */
export const FILESTORES = '.silt.filestores';

/** Deletes a container's filestore, and the directory with the last one. What is gone already is fine. */
export function removeFilestore(path: string): void {
  const directory = dirname(path);
  // An older silt had the file in the root directory itself.
  if (basename(directory) !== FILESTORES) {
    rmSync(path, { force: true });
    return;
  }
  try {
    // What is there now may be a link that a container made which writes to the same root filesystem (overlay2=none).
    const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      rmSync(join(`/proc/self/fd/${fd}`, basename(path)), { force: true });
    } finally {
      closeSync(fd);
    }
    rmdirSync(directory);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'ELOOP'].includes(code)) throw error;
  }
}
