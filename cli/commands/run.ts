import type { Command } from 'commander';
import type { Frame } from '../frame';
import { addBundleFlags, type BundleOptions } from '../bundle-flags';

interface RunOptions extends BundleOptions {
  readonly detach: boolean;
  readonly keep: boolean;
}

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
    .action((id: string, options: RunOptions) => run(frame, id, options));
}

async function run(frame: Frame, id: string, options: RunOptions): Promise<void> {
  const { createFromBundle } = await import('../create-from-bundle');
  const { passSignalsOn } = await import('../foreground');
  const created = await createFromBundle(frame, id, options);
  const { container, recorded, pod, streams, workshop } = created;
  try {
    if (!options.detach) {
      streams.connect();
      passSignalsOn((signal) => container.init.exit === undefined && workshop.kernel.signal(container.init.fd, signal));
    }
    await recorded.start();
  } catch (error) {
    await streams.finish();
    await recorded.delete({ force: true });
    throw error;
  }
  if (options.detach) process.exit(0);
  const { status } = await container.init.exited;
  // Its end was left for a subreaper to see, which here is nobody else.
  workshop.kernel.reapGroup(container.init.pid, false);
  await streams.finish();
  if (!options.keep) {
    await recorded.delete({ force: true });
    if (pod.id === id) await pod.sandbox.exited;
  }
  process.exit(status);
}
