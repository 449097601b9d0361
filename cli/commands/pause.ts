import type { Command } from 'commander';
import type { Frame } from '../frame';

export function registerPause(silt: Command, frame: Frame): void {
  silt
    .command('pause')
    .description('freeze all processes of a container')
    .argument('<container-id>', 'the container')
    .action(async (id: string) => {
      const { openContainer } = await import('../workshop');
      await openContainer(frame, id).pause();
      process.exit(0);
    });
}
