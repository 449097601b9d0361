import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  cgroups,
  isSameProcess,
  NO_PROCESS,
  podIdRanges,
  readConfig,
  removeContainerCgroup,
  type StateDirectory,
} from '../sandbox';
import type { Kernel } from '../syscall';
import { answers, removeDeadSockets } from './sockets';

type PodState = NonNullable<ReturnType<StateDirectory['podIfAny']>>;
type ContainerState = NonNullable<ReturnType<StateDirectory['containerIfAny']>>;

/**
 * How long a pod without shim is left to containerd, which usually runs `delete` for it and gives that 5 seconds
 * (`cleanupTimeout`); a `delete` that was killed is not repeated before containerd's next start.
 */
const LEFT_TO_CONTAINERD_MS = 6000;

/**
 * Removes a container whose shim is dead, and its pod when it was the last. The sandbox has ended with the shim, or is ended here,
 * and with it every process and mount of the pod; what is left are cgroups and files.
 * @param container what its state says, undefined when it was never written
 * @returns the pid that the container's first process had, 0 when that is not known
 */
export async function removeLeftContainer(
  root: string,
  state: StateDirectory,
  pod: string,
  container: ContainerState | undefined,
): Promise<number> {
  const podState = state.podIfAny(pod);
  if (podState && isSameProcess(podState.sandbox)) process.kill(podState.sandbox.pid, 'SIGKILL');
  if (container) {
    // Until the first process was recorded nothing of the container stays in the cgroup, and who is in it may be another's.
    if (container.init.pid !== NO_PROCESS.pid) await cgroups.killAll(container.cgroup);
    await removeContainerCgroup(container.cgroup);
    state.removeContainer(pod, container.id);
  }
  if (state.containersOf(pod).every((id) => state.containerIfAny(id) === undefined)) {
    // Before its name is free for another one.
    podIdRanges(root, readConfig()).releaseAll(state.podPath(pod));
    state.takeDownPod(pod);
  }
  return container?.init.pid ?? 0;
}

/** Removes all of a pod whose shim is dead. */
export async function removeLeftPod(root: string, state: StateDirectory, pod: string): Promise<void> {
  for (const id of state.containersOf(pod)) {
    await removeLeftContainer(root, state, pod, state.containerIfAny(id));
  }
  await removeLeftContainer(root, state, pod, undefined);
}

/**
 * Removes what killed shims have left below a root and nobody else will remove: sockets at once, pods after they have been
 * seen without their shim twice. Every shim does this for all, so that a machine that goes on starting containers stays clean.
 * @param isAlive of the pods that need not be asked
 * @returns how many ms to wait for a further sweep to have something to remove; undefined when there is nothing
 */
export async function sweep(
  root: string,
  state: StateDirectory,
  kernel: Kernel,
  isAlive: (pod: string) => boolean = () => false,
): Promise<number | undefined> {
  let left: number | undefined;
  await removeDeadSockets(kernel, join(root, 's'));
  podIdRanges(root, readConfig()).releaseForgotten(LEFT_TO_CONTAINERD_MS);
  state.removeGone();
  for (const id of state.podIds().filter((one) => !isAlive(one))) {
    const pod = state.podIfAny(id);
    const mark = join(state.podPath(id), 'abandoned');
    // A pod of the command line has no shim to lose. One without state was killed before it wrote it, or is about to write it.
    // One whose shim runs and listens no more is about to end, and may wait for a hook.
    if (pod && (isServedElsewhere(pod) || pod.socket === undefined || (await answers(pod.socket))))
      rmSync(mark, { force: true });
    else if (hasBeenAbandonedFor(mark, LEFT_TO_CONTAINERD_MS)) await removeLeftPod(root, state, id);
    else left = LEFT_TO_CONTAINERD_MS;
  }
  return left;
}

/** Its shim is another process, which runs. */
function isServedElsewhere({ shim }: PodState): boolean {
  return shim !== undefined && shim.pid !== process.pid && isSameProcess(shim);
}

/** Marks the time of the first call in a file, and says whether that is long enough ago. */
function hasBeenAbandonedFor(mark: string, ms: number): boolean {
  try {
    closeSync(openSync(mark, 'ax', 0o600));
    return false;
  } catch {
    const since = statSync(mark, { throwIfNoEntry: false })?.mtimeMs;
    return since !== undefined && Date.now() - since > ms;
  }
}
