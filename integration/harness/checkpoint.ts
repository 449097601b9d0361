/** Checkpoints through containerd: taking one as an image, and starting a task from it. */
import { appendFileSync } from 'node:fs';
import { type CommandLine, commandLineSuite } from './command-line';
import type { Containerd, RunOptions } from './containerd';
import { findCriu } from './criu';
import { imageName } from './image';
import { findProgramRoot } from './program-root';
import { containerdSuite, type SuiteSettings } from './suite';
import { type Descriptor, TasksApi, type TaskStdio } from './tasks-api';

const checkpointType = 'application/vnd.containerd.container.criu.checkpoint.criu.tar';

/** A suite with CRIU; skipped with the reason when there is none. */
export function checkpointSuite(name: string, settings: SuiteSettings, define: (host: () => Containerd) => void): void {
  const criu = findCriu();
  if ('path' in criu) {
    // containerd unpacks a checkpoint into a temporary directory, which it forgets.
    containerdSuite(name, { containerdLeaves: /\/ctrd-checkpoint\d+/, ...settings, criu: criu.path }, define);
    return;
  }
  describe.skip(`${name} [skipped: ${criu.reason}]`, () => define(() => never()));
}

/** A suite of the command line with CRIU; skipped with the reason when there is none. */
export function checkpointCommandSuite(name: string, define: (host: () => CommandLine) => void): void {
  const criu = findCriu();
  if ('path' in criu) {
    commandLineSuite(name, (host) => {
      beforeAll(() => appendFileSync(String(host().environment['SILT_CONFIG']), `criu = "${criu.path}"\n`));
      define(host);
    });
    return;
  }
  describe.skip(`${name} [skipped: ${criu.reason}]`, () => define(() => never()));
}

/** The same with real programs, whose root filesystem is given. */
export function checkpointProgramSuite(name: string, define: (host: () => CommandLine, root: string) => void): void {
  const root = findProgramRoot();
  if ('path' in root) checkpointCommandSuite(name, (host) => define(host, root.path));
  else describe.skip(`${name} [skipped: ${root.reason}]`, () => define(() => never(), ''));
}

function never(): never {
  throw new Error('containerd has not been started');
}

/** Takes a checkpoint of a task, which goes on unless told, and returns what containerd has stored. Throws with ctr's words. */
export async function takeCheckpoint(host: Containerd, id: string, flags: readonly string[] = []): Promise<Descriptor> {
  const { stdout } = await host.mustCtr(['tasks', 'checkpoint', ...flags, id]);
  return checkpointIn(host, stdout.toString().trim());
}

/** Takes a checkpoint of a task that ends with it, and returns what containerd has stored. Rejects with containerd's message. */
export async function takeLastCheckpoint(host: Containerd, id: string): Promise<Descriptor> {
  const lease = `of-${id}`;
  await host.mustCtr(['leases', 'create', '--id', lease]);
  const api = new TasksApi(host.paths.socket, host.namespace);
  try {
    return checkpointAmong(await api.checkpointAndExit(id, lease), id);
  } finally {
    api.close();
  }
}

/** The checkpoint of a task that an image holds. */
export async function checkpointIn(host: Containerd, image: string): Promise<Descriptor> {
  const listing = (await host.mustCtr(['images', 'ls'])).stdout.toString();
  const digest = listing
    .split('\n')
    .find((line) => line.startsWith(`${image} `))
    ?.split(/\s+/)[2];
  if (digest === undefined) throw new Error(`no image ${image} in ${listing}`);
  const index = JSON.parse((await host.mustCtr(['content', 'get', digest])).stdout.toString()) as {
    manifests: Descriptor[];
  };
  return checkpointAmong(index.manifests, `image ${image}`);
}

function checkpointAmong(content: readonly Descriptor[], what: string): Descriptor {
  const found = content.find(({ mediaType }) => mediaType === checkpointType);
  if (found === undefined) throw new Error(`there is no checkpoint of ${what}: ${JSON.stringify(content)}`);
  return found;
}

/** Makes a container and starts its task from a checkpoint. Rejects with containerd's message. */
export async function restoreContainer(
  host: Containerd,
  checkpoint: Descriptor,
  options: RunOptions & { stdio?: TaskStdio } = {},
): Promise<string> {
  return startWithStdio(host, ['false'], options, checkpoint);
}

/** Makes a container of the test image and starts its task with these streams. Rejects with containerd's message. */
export async function startWithStdio(
  host: Containerd,
  command: readonly string[],
  options: RunOptions & { stdio?: TaskStdio },
  checkpoint?: Descriptor,
): Promise<string> {
  const id = host.newId('r');
  const flags = ['--snapshotter', 'overlayfs', '--runtime', options.runtime ?? host.runtime, ...(options.flags ?? [])];
  await host.mustCtr(['containers', 'create', ...flags, imageName, id, ...command]);
  const api = new TasksApi(host.paths.socket, host.namespace);
  try {
    await api.create(id, checkpoint, options.stdio);
    await api.start(id);
    return id;
  } finally {
    api.close();
  }
}
