import type { Command } from 'commander';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';

export function registerDelete(silt: Command, frame: Frame): void {
  silt
    .command('delete')
    .description('remove a container that has ended, and what it has of the host')
    .argument('<container-id...>', 'the containers')
    .option('-f, --force', 'kill it first if it runs; no error when there is no such container', false)
    .action((ids: readonly string[], options: { readonly force: boolean }) => remove(frame, ids, options));
}

async function remove(frame: Frame, ids: readonly string[], { force }: { force: boolean }): Promise<void> {
  const { openContainer } = await import('../workshop');
  for (const id of ids) {
    try {
      await openContainer(frame, id).delete({ force });
    } catch (error) {
      if (!force || !(error instanceof SiltError) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
    }
  }
  process.exit(0);
}
