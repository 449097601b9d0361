/** A process that serves a container's checkpoint file when no command runs any more. */
import { resolve } from 'node:path';
import type { CheckpointFile, Workshop } from '../sandbox';

export const SERVE_COMMAND = 'serve-checkpoint-file';

/** Starts it, and hands the file over. It ends with the container. */
export function serveInBackground({ state }: Workshop, id: string, file: CheckpointFile): void {
  const { master, slave, events } = file.fds;
  // Loading it takes longer than most commands' own work, and few start a program.
  const { spawn } = process.getBuiltinModule('node:child_process');
  spawn(process.execPath, [process.argv[1]!, '--root', resolve(state.root), SERVE_COMMAND, id], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', master, slave, events],
  }).unref();
  file.close();
}
