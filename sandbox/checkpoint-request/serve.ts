/** Serves the checkpoint file of a container: takes the checkpoint that its programs ask for, and tells them how it ended. */
import { existsSync } from 'node:fs';
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
  /** What its programs have been told since they asked. */
  let heard: Outcome | undefined;
  const tell = (outcome: Outcome): void => {
    heard = outcome;
    file.tell(outcome, listPids(state.cgroup));
  };
  const outcomes = followOutcomes(workshop.state.containerPath(state.pod, id), tell);
  const answer = (): Outcome | undefined => {
    outcomes.look();
    return heard;
  };
  let saving: Promise<void> | undefined;
  file.serve(() => {
    if (!enable || saving) return;
    outcomes.look();
    heard = undefined;
    saving = saveFor(workshop, id, { answer, onRefusal: () => tell('error') })
      .catch((error: unknown) => onError(error instanceof Error ? error.message : String(error)))
      .finally(() => (saving = undefined));
  });
  return {
    close: async () => {
      await saving;
      outcomes.close();
      file.close();
    },
  };
}

/**
 * Saves a container, or the whole of its pod, as the annotations of the pod's first container say.
 * @param answer what the container's programs have been told since they asked
 */
async function saveFor(
  workshop: Workshop,
  id: string,
  { answer, onRefusal }: { answer: () => Outcome | undefined; onRefusal: () => void },
): Promise<void> {
  const container = RecordedContainer.named(workshop, id);
  const first = workshop.state.containerIfAny(container.state.pod) ?? container.state;
  const { path, resume = false } = applicationCheckpoint(workshop.state.readSpec(first)) ?? {};
  if (path === undefined) {
    onRefusal();
    const message = `a program of ${id} has asked for a checkpoint, and the annotation dev.gvisor.internal.checkpoint.path of container ${first.id} does not say where to`;
    throw new SiltError('CHECKPOINT_FAILED', message, { id });
  }
  const options = { imagePath: path, leaveRunning: resume };
  // Several containers of a pod may ask at once: the checkpoint that one of them gets is that of all.
  const isAnswered = (): boolean => answer() === 'error' || (answer() === 'resume' && existsSync(path));
  if (isPod(workshop, first)) await checkpointPod(workshop, first.id, options, isAnswered);
  else await container.checkpoint(options);
}
