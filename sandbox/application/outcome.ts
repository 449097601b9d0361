/** How a checkpoint has ended is told to whoever serves the container's checkpoint file by a file in its state directory. */
import { existsSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerState, StateDirectory } from '../state/state';
import type { Outcome } from './checkpoint-file';

const NAME = 'checkpoint-outcome';

/** Says it, in the state directory of a container that has a checkpoint file; one that is gone needs to hear nothing. */
export function sayOutcome(directory: string, outcome: Outcome): void {
  if (!existsSync(directory)) return;
  const path = join(directory, NAME);
  writeFileSync(`${path}.new`, outcome, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Saves containers, and says how that has ended to those that have a checkpoint file; who is killed afterwards hears nothing. */
export async function sayingOutcome(
  state: StateDirectory,
  containers: readonly ContainerState[],
  leaveRunning: boolean,
  save: () => Promise<void>,
): Promise<void> {
  const say = (outcome: Outcome): void => {
    for (const { pod, id, checkpointFile } of containers)
      if (checkpointFile) sayOutcome(state.containerPath(pod, id), outcome);
  };
  try {
    await save();
    if (leaveRunning) say('resume');
  } catch (error) {
    say('error');
    throw error;
  }
}

export interface OutcomeFollower {
  /** Calls back now with what has been said and was not noticed yet. */
  look(): void;
  close(): void;
}

/** Calls back with each outcome, also one that was said before; until it is closed. */
export function followOutcomes(directory: string, onOutcome: (outcome: Outcome) => void): OutcomeFollower {
  const path = join(directory, NAME);
  const look = (): void => {
    let outcome: string;
    try {
      outcome = readFileSync(path, 'utf8');
      rmSync(path);
    } catch {
      // Nothing has been said since the last look.
      return;
    }
    onOutcome(outcome as Outcome);
  };
  const watcher = watch(directory, { persistent: false }, (_, name) => {
    if (name === NAME) look();
  });
  // The directory is removed with the container.
  watcher.on('error', () => watcher.close());
  look();
  return { look, close: () => watcher.close() };
}
