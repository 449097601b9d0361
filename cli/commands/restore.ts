import type { Command } from 'commander';
import { addBundleFlags } from '../bundle-flags';
import type { Frame } from '../frame';
import type { RunOptions } from '../run-bundle';

export function registerRestore(silt: Command, frame: Frame): void {
  addBundleFlags(
    silt
      .command('restore')
      .description(
        'create a container that goes on from a checkpoint; of one that was created, instead of `silt start`',
      )
      .argument('<container-id>', 'the name of the container'),
  )
    .option('--image-path <directory>', 'the checkpoint', 'checkpoint')
    .option('--work-path <directory>', 'where CRIU’s log goes when the restore fails')
    .option('--background', 'start at once, and bring the contents of memory when they are used', false)
    .option('-d, --detach', 'return when the container runs', false)
    .option('--keep', 'do not remove the container after its end', false)
    .option('--no-subreaper', 'accepted; what a container leaves behind goes to the next subreaper above')
    .option('--shell-job', 'accepted; the checkpoint knows whether there is a terminal')
    .option('--manage-cgroups-mode <mode>', 'accepted; cgroups are silt’s, and CRIU leaves them alone')
    .option('--empty-ns <kind>', 'accepted; the pod’s namespaces are entered as they are')
    .option('--tcp-established', 'accepted; the checkpoint knows')
    .option('--ext-unix-sk', 'accepted; the checkpoint knows')
    .option('--file-locks', 'accepted; file locks are always restored')
    .action((id: string, options: RunOptions) => restore(frame, id, options));
}

async function restore(frame: Frame, id: string, options: RunOptions): Promise<void> {
  const { runBundle } = await import('../run-bundle');
  const { replaceCreated } = await import('../create-from-bundle');
  await runBundle(frame, id, { ...options, bundle: await replaceCreated(frame, id, options.bundle) });
}
