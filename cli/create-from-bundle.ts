import { resolve } from 'node:path';
import { SiltError } from '../errors';
import { takeApart } from '../gofer';
import { readBundle, type Spec } from '../oci';
import {
  type Container,
  createIndependent,
  passedName,
  type Pod,
  RecordedContainer,
  seedOf,
  sendPidfd,
  StateDirectory,
  type Workshop,
} from '../sandbox';
import type { CheckpointImage } from '../sandbox/checkpoint';
import type { BundleOptions } from './bundle-flags';
import type { Frame } from './frame';
import { writePidFile } from './pid-file';
import { withBar } from './progress-bar';
import { serveInBackground } from './checkpoint-server';
import { Streams } from './streams';
import { type PassedFd, passedFds } from './passed-fds';
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

export type CreateOptions = BundleOptions & {
  readonly detach: boolean;
  readonly imagePath?: string;
  readonly workPath?: string;
  readonly background?: boolean;
};

/** What a container goes on from. Few commands have it, and its room is loaded by those only. */
async function checkpointFor(
  { config }: Pick<Workshop, 'config'>,
  { imagePath, background }: { readonly imagePath: string; readonly background?: boolean },
  id: string,
  spec: Spec,
): Promise<CheckpointImage> {
  const { checkpointInPod, openCheckpoint } = await import('../sandbox/checkpoint');
  return openCheckpoint(checkpointInPod(imagePath, id, spec), spec, { background, baseline: config.baseline });
}

/**
 * Creates a container from a bundle, as `create` and `run` do it, up to its parked first process.
 * @throws SiltError; nothing is left then.
 */
export async function createFromBundle(frame: Frame, id: string, options: CreateOptions): Promise<Created> {
  const bundle = resolve(options.bundle);
  const spec = readBundle(bundle);
  const { imagePath } = options;
  const seed = imagePath === undefined ? seedOf(spec.annotations ?? {}) : undefined;
  const label = imagePath !== undefined ? `restoring ${id}` : seed !== undefined ? `seeding ${id}` : undefined;
  return withBar(label, (onProgress) =>
    createWith(openWorkshop(frame, onProgress), id, options, { bundle, spec, seed }),
  );
}

async function createWith(
  workshop: Workshop,
  id: string,
  options: CreateOptions,
  { bundle, spec, seed }: { readonly bundle: string; readonly spec: Spec; readonly seed: string | undefined },
): Promise<Created> {
  const { imagePath } = options;
  const checkpoint =
    imagePath === undefined ? undefined : await checkpointFor(workshop, { ...options, imagePath }, id, spec);
  const passed = passedFds(options);
  const console = spec.process?.consoleSize;
  const streams = new Streams(workshop.kernel, {
    terminal: spec.process?.terminal ?? false,
    detach: options.detach,
    consoleSocket: options.consoleSocket,
    before: checkpoint?.terminalOutput,
    size: console && { rows: console.height, columns: console.width },
  });
  const { container, pod } = await createIndependent(workshop, {
    id,
    bundle,
    spec,
    rootfs: takeApart([], spec.root?.path, bundle),
    seed,
    checkpoint,
    workPath: options.workPath,
    stdio: { ...streams.stdio, ...donated(passed) },
    extras: { passFds: passed.map(({ guest }) => guest), newKeyring: options.newKeyring },
    onTerminal: streams.onTerminal,
  });
  const recorded = RecordedContainer.find(workshop, id);
  try {
    if (container.checkpointFile) serveInBackground(workshop, id, container.checkpointFile);
    writePidFile(options.pidFile, container.init.pid);
    if (options.pidfdSocket !== undefined) sendPidfd(workshop.kernel, options.pidfdSocket, container.init.fd);
  } catch (error) {
    await recorded.delete({ force: true });
    throw error;
  }
  return { workshop, container, recorded, pod, streams };
}

/** Fds to be passed, by the names of their donation. */
export function donated(passed: readonly PassedFd[]): Record<string, number> {
  return Object.fromEntries(passed.map(({ host, guest }) => [passedName(guest), host]));
}

/**
 * Makes room for a container that is restored: one of that name that was created and not started goes.
 * @returns the bundle to restore it with: the one that was created, if there was one
 * @throws SiltError WRONG_STATE when there is one that has been started.
 */
export async function replaceCreated(frame: Frame, id: string, bundle: string): Promise<string> {
  const state = new StateDirectory(frame.options.root).containerIfAny(id);
  if (!state) return bundle;
  const created = new RecordedContainer(openWorkshop(frame), state);
  if (created.status !== 'created') {
    const message = `cannot restore ${id}: there is a container of that name, and it is ${created.status}; delete it first`;
    throw new SiltError('WRONG_STATE', message, { id });
  }
  await created.delete({ force: true });
  return bundle === '.' ? state.bundle : bundle;
}
