/** Saves all containers of a pod at one moment. */
import { join } from 'node:path';
import { SiltError, withContext } from '../../errors';
import { C } from '../../syscall';
import { sayingOutcome } from '../application';
import {
  checkpoint,
  type CheckpointOptions,
  claimTarget,
  keepStill,
  type SavedContainer,
  writePodManifest,
} from '../checkpoint';
import { awaitMemory } from '../pager/record';
import { withPodLock } from '../state/lock';
import { ignoreEnded, RecordedContainer } from '../container/recorded';
import { containerName } from '../config/seed-policy';
import type { ContainerState } from '../state/state';
import type { Workshop } from '../workshop';

/** Whether this is the first container of a pod that has more of them. */
export function isPod({ state }: Workshop, { id, pod }: ContainerState): boolean {
  return id === pod && state.containersOf(pod).length > 1;
}

/**
 * Saves every container of a pod that runs: all are frozen before the first is dumped. What has stopped is not part of it. The
 * checkpoint is complete or not there, and whatever fails, all containers run on as before; without `leaveRunning` they are killed
 * once it is complete.
 * @param isAnswered asked when it is this one's turn: whether there is nothing to save any more
 * @throws SiltError WRONG_STATE for a container that was created and not started; as {@link checkpoint} does.
 */
export async function checkpointPod(
  workshop: Workshop,
  pod: string,
  options: CheckpointOptions,
  isAnswered: () => boolean = () => false,
): Promise<void> {
  const { kernel, state } = workshop;
  await withPodLock(workshop, { pod, id: pod }, async () => {
    if (isAnswered()) return;
    const containers = state
      .containersOf(pod)
      .map((id) => RecordedContainer.named(workshop, id))
      .filter(({ status }) => status !== 'stopped');
    const waiting = containers.find(({ status }) => status === 'created');
    if (waiting) {
      const message = `cannot checkpoint pod ${pod}: its container ${waiting.id} has been created and not started`;
      throw new SiltError('WRONG_STATE', message, { id: waiting.id });
    }
    if (containers.length === 0)
      throw new SiltError('WRONG_STATE', `cannot checkpoint pod ${pod}: none of its containers runs`, { id: pod });
    await Promise.all(containers.map((one) => awaitMemory(kernel, one.state)));
    const states = containers.map((one) => one.state);
    const { leaveRunning } = options;
    await sayingOutcome(state, states, leaveRunning, () => saveAll(workshop, pod, containers, options));
    if (options.leaveRunning) return;
    await Promise.all(containers.map((one) => one.ended()));
  });
}

async function saveAll(
  workshop: Workshop,
  pod: string,
  containers: readonly RecordedContainer[],
  options: CheckpointOptions,
): Promise<void> {
  const goOn: (() => Promise<void>)[] = [];
  try {
    await writeAll(workshop, pod, containers, options, goOn);
    if (!options.leaveRunning) await killEach(containers);
  } finally {
    await Promise.all(goOn.map((one) => one()));
  }
}

/** From here on the checkpoint is all that is left of the pod: no failure may take it away, nor spare a container. */
async function killEach(containers: readonly RecordedContainer[]): Promise<void> {
  const kills = await Promise.allSettled(containers.map((one) => one.kill(C.SIGKILL).catch(ignoreEnded)));
  const failed = kills.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
}

/** @param goOn gets what lets each container go on that has been brought to a standstill */
async function writeAll(
  workshop: Workshop,
  pod: string,
  containers: readonly RecordedContainer[],
  options: CheckpointOptions,
  goOn: (() => Promise<void>)[],
): Promise<void> {
  const { state } = workshop;
  const target = claimTarget(options.imagePath);
  try {
    for (const { state: container, spec } of containers) goOn.push(await keepStill(workshop, { container, spec }));
    const saved: SavedContainer[] = [];
    for (const container of containers) {
      const { id, spec } = container;
      const source = { container: container.state, pod: state.readPod(pod), spec };
      const imagePath = join(target.temporary, id);
      // They go on together or end together: none is let go or killed by its own dump.
      await checkpoint(workshop, source, {
        ...options,
        workPath: options.workPath && { ...options.workPath, path: join(options.workPath.path, id) },
        imagePath,
        leaveRunning: true,
        still: true,
      });
      saved.push({ name: containerName(spec.annotations ?? {}) ?? id, first: id === pod, directory: id });
    }
    await writePodManifest(target.temporary, pod, saved);
    await target.finish();
  } catch (error) {
    target.remove();
    throw withContext(`cannot checkpoint pod ${pod}`, error);
  }
}
