import { SiltError } from '../errors';
import type { Workshop } from '../sandbox';

/**
 * Does what nobody may do to a pod's containers at the same time, such as a checkpoint and what freezes or thaws them: CRIU lets a process
 * run for its own purposes while it saves it.
 * @param id of the container that it is done to, for the error
 */
export async function withPodLock<T>(
  { kernel, state }: Workshop,
  { pod, id }: { readonly pod: string; readonly id: string },
  body: () => Promise<T>,
): Promise<T> {
  const { lockPod } = await import('../sandbox/state/lock');
  const unlock = await lockPod(kernel, state, pod);
  if (!unlock) throw new SiltError('CONTAINER_NOT_FOUND', `pod ${pod} does not exist any more`, { id });
  try {
    return await body();
  } finally {
    unlock();
  }
}
