/** Serves the checkpoint file of a container: takes the checkpoint that its programs ask for, and tells them how it ended. */
import { SiltError } from '../../errors';
import { applicationCheckpoint, CheckpointFile, followOutcomes, type Outcome } from '../application';
import { listPids } from '../cgroup';
import { checkpointPod, isPod } from './pod';
import { RecordedContainer } from '../container/recorded';
import type { Workshop } from '../workshop';

export interface ServedCheckpointFile {
  /** Ends it, when a checkpoint that is being taken is done; closes the file. */
  close(): Promise<void>;
}

/** @param onError told why a checkpoint that was asked for has failed */
export function serveCheckpointFile(
  workshop: Workshop,
  id: string,
  file: CheckpointFile,
  onError: (message: string) => void,
): ServedCheckpointFile {
  const { spec, state } = RecordedContainer.named(workshop, id);
  const { enable } = applicationCheckpoint(spec) ?? { enable: false };
  const tell = (outcome: Outcome): void => file.tell(outcome, listPids(state.cgroup));
  const stop = followOutcomes(workshop.state.containerPath(state.pod, id), tell);
  let saving: Promise<void> | undefined;
  file.serve(() => {
    if (!enable) return;
    saving ??= saveFor(workshop, id, () => tell('error'))
      .catch((error: unknown) => onError(error instanceof Error ? error.message : String(error)))
      .finally(() => (saving = undefined));
  });
  return {
    close: async () => {
      await saving;
      stop();
      file.close();
    },
  };
}

/** Saves a container, or the whole of its pod, as the annotations of the pod's first container say. */
async function saveFor(workshop: Workshop, id: string, onRefusal: () => void): Promise<void> {
  const container = RecordedContainer.named(workshop, id);
  const first = workshop.state.containerIfAny(container.state.pod) ?? container.state;
  const { path, resume = false } = applicationCheckpoint(workshop.state.readSpec(first)) ?? {};
  if (path === undefined) {
    onRefusal();
    const message = `a program of ${id} has asked for a checkpoint, and the annotation dev.gvisor.internal.checkpoint.path of container ${first.id} does not say where to`;
    throw new SiltError('CHECKPOINT_FAILED', message, { id });
  }
  const options = { imagePath: path, leaveRunning: resume };
  if (isPod(workshop, first)) await checkpointPod(workshop, first.id, options);
  else await container.checkpoint(options);
}
