import type { Command } from 'commander';
import type { Frame } from '../frame';

export function registerStart(silt: Command, frame: Frame): void {
  silt
    .command('start')
    .description('let the process of a created container go')
    .argument('<container-id>', 'the container')
    .action(async (id: string) => {
      const { openContainer } = await import('../workshop');
      await openContainer(frame, id).start();
      process.exit(0);
    });
}
