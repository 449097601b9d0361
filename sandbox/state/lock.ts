import { closeSync, constants, fstatSync, mkdirSync, openSync, statSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, type Kernel, ProgramBuilder } from '../../syscall';
import type { StateDirectory } from './state';

/**
 * Takes the lock of a pod, under which containers are made, started and removed: an exclusive flock(2) on its directory, which
 * goes with this process however it ends. Waits, this whole process, until it is free.
 * @param make make the directory if it is not there
 * @returns what gives the lock back, or undefined when there is no such pod.
 */
export function lockPod(kernel: Kernel, state: StateDirectory, pod: string, make = false): (() => void) | undefined {
  const path = state.podPath(pod);
  for (;;) {
    if (make) mkdirSync(path, { recursive: true, mode: 0o711 });
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && make) continue;
      if (code === 'ENOENT') return undefined;
      throw new SiltError('SYSCALL_FAILED', `cannot lock pod ${pod}: ${code}`, { path, errno: code }, { cause: error });
    }
    const p = new ProgramBuilder();
    p.step(`locking pod ${pod}`).call('flock', [fd, C.LOCK_EX], { retry: true });
    kernel.run(p.build());
    // Whoever had the lock may have removed the directory, and another have made it anew.
    const locked = fstatSync(fd);
    const present = statSync(path, { throwIfNoEntry: false });
    if (present?.ino === locked.ino && present.dev === locked.dev) return () => closeSync(fd);
    closeSync(fd);
    if (!present && !make) return undefined;
  }
}
