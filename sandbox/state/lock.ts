import { closeSync, constants, fstatSync, mkdirSync, openSync, statSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, type Kernel, ProgramBuilder } from '../../syscall';
import type { StateDirectory } from './state';

/** Between two tries for a lock that is taken: at first as short as what most commands do under it. */
const RETRY_MS = { first: 1, last: 32 } as const;

/**
 * Takes the lock of a pod, under which containers are made, started and removed: an exclusive flock(2) on its directory, which
 * goes with this process however it ends. Waits until it is free, in the event loop and never in flock(2): the holder may be this
 * very process, in the middle of a checkpoint that takes minutes.
 * @param make make the directory if it is not there
 * @returns what gives the lock back, or undefined when there is no such pod.
 */
export async function lockPod(
  kernel: Kernel,
  state: StateDirectory,
  pod: string,
  make = false,
): Promise<(() => void) | undefined> {
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
    try {
      await lockInLoop(kernel, pod, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    // Whoever had the lock may have removed the directory, and another have made it anew.
    const locked = fstatSync(fd);
    const present = statSync(path, { throwIfNoEntry: false });
    if (present?.ino === locked.ino && present.dev === locked.dev) return () => closeSync(fd);
    closeSync(fd);
    if (!present && !make) return undefined;
  }
}

/**
 * Does what no other process may do to a pod at the same time, such as a checkpoint and what freezes or thaws its containers: CRIU lets a
 * process run for its own purposes while it saves it.
 * @param id of the container that it is done to, or of the pod, for the error; `what` is said to be gone, the pod if nothing else is given
 * @throws SiltError CONTAINER_NOT_FOUND when there is no such pod; what `body` throws.
 */
export async function withPodLock<T>(
  { kernel, state }: { readonly kernel: Kernel; readonly state: StateDirectory },
  { pod, id, what = `pod ${pod}` }: { readonly pod: string; readonly id: string; readonly what?: string },
  body: () => Promise<T>,
): Promise<T> {
  const unlock = await lockPod(kernel, state, pod);
  if (!unlock) throw new SiltError('CONTAINER_NOT_FOUND', `${what} does not exist any more`, { id });
  try {
    return await body();
  } finally {
    unlock();
  }
}

async function lockInLoop(kernel: Kernel, pod: string, fd: number): Promise<void> {
  const p = new ProgramBuilder();
  const result = p.slot('result');
  const how = C.LOCK_EX | C.LOCK_NB;
  p.step(`locking pod ${pod}`).call('flock', [fd, how], { out: result, retry: true, tolerate: ['EAGAIN'] });
  const program = p.build();
  for (let pause: number = RETRY_MS.first; kernel.run(program).get(result) !== 0; pause *= 2)
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, RETRY_MS.last)));
}
