import type { Command } from 'commander';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';
import { print } from '../print';

export function registerWait(silt: Command, frame: Frame): void {
  silt
    .command('wait')
    .description('wait for the end of a container’s first process, and print its exit status as JSON')
    .argument('<container-id>', 'the container')
    .action((id: string) => wait(frame, id));
}

async function wait(frame: Frame, id: string): Promise<void> {
  const { openContainer } = await import('../workshop');
  const container = openContainer(frame, id);
  const exitStatus = await container.exitStatus();
  if (exitStatus === undefined) {
    const message = `container ${container.id} has ended already, and its exit status went to the process that it was a child of`;
    throw new SiltError('WRONG_STATE', message, { id });
  }
  print(`${JSON.stringify({ id: container.id, exitStatus })}\n`);
  process.exit(0);
}
