import type { Command } from 'commander';
import type { Frame } from '../frame';
import { addBundleFlags, type BundleOptions } from '../bundle-flags';

export function registerCreate(silt: Command, frame: Frame): void {
  addBundleFlags(
    silt
      .command('create')
      .description('create a container, up to its first process, which waits for `silt start`')
      .argument('<container-id>', 'the name of the new container'),
  ).action((id: string, options: BundleOptions) => create(frame, id, options));
}

async function create(frame: Frame, id: string, options: BundleOptions): Promise<void> {
  const { createFromBundle } = await import('../create-from-bundle');
  await createFromBundle(frame, id, { ...options, detach: true });
  process.exit(0);
}
