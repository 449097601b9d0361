import { closeSync, openSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C } from '../../syscall';
import { pidOf } from '../process/process';

/**
 * Opens the root directory of a process, which no namespace leads to when it has that by chroot(2).
 * @param pidfd of the process; borrowed
 * @returns an O_PATH fd, the caller's
 * @throws SiltError WRONG_STATE when the process has ended.
 */
export function openRootOf(pidfd: number): number {
  const pid = pidOf(pidfd);
  let root: number | undefined;
  try {
    if (pid > 0) root = openSync(`/proc/${pid}/root`, C.O_PATH | C.O_DIRECTORY | C.O_CLOEXEC);
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  // Still the one that the pidfd is of: then the number was, too.
  if (root !== undefined && pidOf(pidfd) === pid) return root;
  if (root !== undefined) closeSync(root);
  throw new SiltError('WRONG_STATE', 'the container’s first process has ended', {});
}
