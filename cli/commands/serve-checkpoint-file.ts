import type { Command } from 'commander';
import { SERVE_COMMAND } from '../checkpoint-server';
import type { Frame } from '../frame';

/** Started by `create`, `run` and `restore`, see serveInBackground: no command for people. */
export function registerServeCheckpointFile(silt: Command, frame: Frame): void {
  silt
    .command(SERVE_COMMAND, { hidden: true })
    .argument('<container-id>')
    .action((id: string) => serve(frame, id));
}

/** Its fds, in the order in which it is given them. */
const FDS = { master: 3, slave: 4, events: 5 } as const;

async function serve(frame: Frame, id: string): Promise<void> {
  const { openWorkshop } = await import('../workshop');
  const { RecordedContainer } = await import('../../sandbox');
  const { CheckpointFile } = await import('../../sandbox/application');
  const { serveCheckpointFile } = await import('../../sandbox/checkpoint-request/serve');
  const workshop = openWorkshop(frame);
  const file = CheckpointFile.inherited(workshop.kernel, FDS);
  const served = serveCheckpointFile(workshop, id, file, (message) => frame.log.warning(message));
  await RecordedContainer.named(workshop, id).ended();
  await served.close();
  process.exit(0);
}
