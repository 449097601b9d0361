import { readlinkSync } from 'node:fs';
import { SiltError } from '../errors';
import { passedName } from '../sandbox';

const FIRST = 3;

/**
 * The fds that `--preserve-fds` hands on, from 3, by the names of their donation.
 * @throws SiltError REQUEST_INVALID for one that the caller has not given: what is open there is then this process's own.
 */
export function passedFds(count: number): Record<string, number> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      if (isInherited(FIRST + i)) return [passedName(i), FIRST + i];
      throw new SiltError('REQUEST_INVALID', `--preserve-fds=${count}: fd ${FIRST + i} is not open`);
    }),
  );
}

/** Node marks what it inherits close-on-exec, so its own are told by what they are: those of its event loop. */
function isInherited(fd: number): boolean {
  try {
    return !/^anon_inode:\[?(event|io_uring)/.test(readlinkSync(`/proc/self/fd/${fd}`));
  } catch {
    return false;
  }
}
