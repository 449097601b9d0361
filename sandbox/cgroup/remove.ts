import { rmdirSync } from 'node:fs';
import type { Cgroup } from './cgroup';
import { listDescendants, listPids } from './processes';
import { errnoOf, isGone } from './virtual-file';
import { retryWithin } from './waiting';
import { SiltError } from '../../errors';

/** Time that {@link removeCgroup} may take when the caller does not say. */
export const REMOVE_TIMEOUT_MS = 2000;

/** Removes one directory. Returns false while it is busy: processes or children are in it, or were a moment ago. */
function removeDirectory(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (isGone(errno)) return true;
    if (errno === 'EBUSY' || errno === 'ENOTEMPTY') return false;
    throw new SiltError(
      'SYSCALL_FAILED',
      `cannot remove cgroup ${directory}: ${errno}`,
      { path: directory, syscall: 'rmdir', errno },
      { cause: error },
    );
  }
}

/** Children first. The plain rmdir is tried before looking for children: nearly every container has none. */
function removeTree(directory: string): boolean {
  if (removeDirectory(directory)) return true;
  return listDescendants(directory).every(removeDirectory) && removeDirectory(directory);
}

/**
 * Removes the container's cgroup from every hierarchy, with cgroups that it made beneath. It must be empty of processes
 * (see killAll); a process that is just gone can keep it busy for a moment, which is waited for. What is already gone
 * is fine, so it may be called twice. Parents stay: they are the engine's.
 * Raises SYSCALL_FAILED (EBUSY) naming the pids that are left.
 */
export async function removeCgroup(cgroup: Cgroup, { timeoutMs = REMOVE_TIMEOUT_MS } = {}): Promise<void> {
  let left = cgroup.directories.map((directory) => directory.path);
  const removed = await retryWithin(timeoutMs, () => {
    left = left.filter((directory) => !removeTree(directory));
    return left.length === 0;
  });
  if (removed) return;
  const pids = listPids(cgroup).slice(0, 8).join(', ');
  const holders = pids === '' ? 'no process that silt can see' : `processes ${pids}`;
  const message = `cannot remove cgroup ${left.join(', ')}: EBUSY for ${timeoutMs} ms, held by ${holders}`;
  throw new SiltError('SYSCALL_FAILED', message, { path: left[0] ?? '', syscall: 'rmdir', errno: 'EBUSY' });
}
