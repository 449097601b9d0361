import type { Command } from 'commander';
import type { Frame } from '../frame';
import { print } from '../print';

export function registerState(silt: Command, frame: Frame): void {
  silt
    .command('state')
    .description('print the state of a container as JSON')
    .argument('<container-id>', 'the container')
    .action(async (id: string) => {
      const { openContainer } = await import('../workshop');
      const { printedState } = await import('../container-state');
      print(`${JSON.stringify(printedState(openContainer(frame, id)), null, 2)}\n`);
    });
}
