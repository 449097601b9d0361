import type { Command } from 'commander';
import type { Frame } from '../frame';

export function registerResume(silt: Command, frame: Frame): void {
  silt
    .command('resume')
    .description('let a paused container go on')
    .argument('<container-id>', 'the container')
    .action(async (id: string) => {
      const { openContainer } = await import('../workshop');
      await openContainer(frame, id).resume();
      process.exit(0);
    });
}
