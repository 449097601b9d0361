import type { Command } from 'commander';
import type { Frame } from '../frame';
import { addBundleFlags } from '../bundle-flags';
import type { RunOptions } from '../run-bundle';

export function registerRun(silt: Command, frame: Frame): void {
  addBundleFlags(
    silt
      .command('run')
      .description('create and start a container, wait for its end, and remove it')
      .argument('<container-id>', 'the name of the new container'),
  )
    .option('-d, --detach', 'return when the container has been started', false)
    .option('--keep', 'do not remove the container after its end', false)
    .option('--no-subreaper', 'accepted; silt is none')
    .action((id: string, options: RunOptions) => start(frame, id, options));
}

async function start(frame: Frame, id: string, options: RunOptions): Promise<void> {
  const { runBundle } = await import('../run-bundle');
  await runBundle(frame, id, options);
}
