import { fstatSync } from 'node:fs';

const MEMORY_DEVICES = 1;

/**
 * Whether a file descriptor is a terminal; false for one that is not open. node:tty brings the whole of node:net with it, a tenth of
 * the time of a short command: it is asked only about character devices that are not /dev/null and its like (devices.txt of Linux).
 */
export function isTerminal(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    if (!stat.isCharacterDevice() || stat.rdev >> 8 === MEMORY_DEVICES) return false;
  } catch {
    return false;
  }
  return process.getBuiltinModule('node:tty').isatty(fd);
}
