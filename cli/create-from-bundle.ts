import { resolve } from 'node:path';
import { takeApart } from '../gofer';
import { readBundle } from '../oci';
import { type Container, createIndependent, type Pod, RecordedContainer, seedOf, type Workshop } from '../sandbox';
import type { BundleOptions } from './bundle-flags';
import type { Frame } from './frame';
import { writePidFile } from './pid-file';
import { Streams } from './streams';
import { openWorkshop } from './workshop';

/** A container that this command has created, and what it keeps of it as long as it runs itself. */
export interface Created {
  readonly workshop: Workshop;
  readonly container: Container;
  /** The same container, as any other command sees it. */
  readonly recorded: RecordedContainer;
  readonly pod: Pod;
  readonly streams: Streams;
}

/**
 * Creates a container from a bundle, as `create` and `run` do it, up to its parked first process.
 * @throws SiltError; nothing is left then.
 */
export async function createFromBundle(
  frame: Frame,
  id: string,
  options: BundleOptions & { readonly detach: boolean },
): Promise<Created> {
  const bundle = resolve(options.bundle);
  const spec = readBundle(bundle);
  const workshop = openWorkshop(frame);
  const console = spec.process?.consoleSize;
  const streams = new Streams(workshop.kernel, {
    terminal: spec.process?.terminal ?? false,
    detach: options.detach,
    consoleSocket: options.consoleSocket,
    size: console && { rows: console.height, columns: console.width },
  });
  const { container, pod } = await createIndependent(workshop, {
    id,
    bundle,
    spec,
    rootfs: takeApart([], spec.root?.path, bundle),
    seed: seedOf(spec.annotations ?? {}),
    stdio: streams.stdio,
    onTerminal: streams.onTerminal,
  });
  const recorded = RecordedContainer.find(workshop, id);
  try {
    writePidFile(options.pidFile, container.init.pid);
  } catch (error) {
    await recorded.delete({ force: true });
    throw error;
  }
  return { workshop, container, recorded, pod, streams };
}
