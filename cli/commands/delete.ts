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
  const { openWorkshop } = await import('../workshop');
  const { RecordedContainer, removeUnfinished } = await import('../../sandbox');
  const workshop = openWorkshop(frame);
  for (const id of ids) {
    try {
      await RecordedContainer.named(workshop, id).delete({ force });
    } catch (error) {
      if (!force || !(error instanceof SiltError) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
      await removeUnfinished(workshop, id);
    }
  }
  process.exit(0);
}
