import { Pod } from './pod';
import { lockPod } from '../state/lock';
import { endPod } from './start';
import { isSameProcess } from '../state/state';
import type { Workshop } from '../workshop';

/**
 * Removes what is under a container's id although there is no such container: a creation was killed before the container was on
 * record, and its processes are gone with it. Waits for a creation that is still at work, and leaves what that has made.
 */
export async function removeUnfinished(workshop: Workshop, id: string): Promise<void> {
  const { kernel, state } = workshop;
  for (const pod of [id, ...state.pods().map((one) => one.id)]) {
    const unlock = await lockPod(workshop, pod);
    if (!unlock) continue;
    try {
      if (state.containerIfAny(id)) return;
      const podState = state.podIfAny(pod);
      if (podState) state.removeContainer(pod, id);
      if (pod !== id || state.containersOf(pod).length > 0) continue;
      if (!podState && !state.isUnused(pod)) continue;
      const left = podState && isSameProcess(podState.sandbox) ? Pod.attach(kernel, podState) : undefined;
      await endPod(workshop, pod, left);
    } finally {
      unlock();
    }
  }
}
