import { SiltError } from '../errors';
import type { Spec } from '../oci';
import { type TaskRequest, unpackCheckpointOptions } from '../proto';
import {
  asksForRestore,
  type Config,
  type Container,
  containerName,
  restoresInBackground,
  type Workshop,
} from '../sandbox';
import type { CheckpointImage, CheckpointOptions } from '../sandbox/checkpoint';
import { withPodLock } from '../sandbox/state/lock';
import { criCheckpointDirectory } from './cri-directory';
import type { Log } from './log';
import type { InitTask } from './task';

/** What the containers of a pod, by their names, have gone on from. */
export type RestoredNames = Set<string>;

/**
 * The checkpoint that a new container goes on from: that of the request, or one that its annotations name. By those it goes on from there
 * once: one of the same name that comes later in the same pod, as that has ended, starts anew.
 * Few tasks have to do with checkpoints, and a shim that has none does not load what makes them.
 * @throws SiltError CHECKPOINT_INVALID, CHECKPOINT_REFUSED.
 */
export async function checkpointFor(
  { restored, log }: { readonly restored: RestoredNames; readonly log: Log },
  { id, checkpoint: path }: Pick<TaskRequest<'Create'>, 'id' | 'checkpoint'>,
  spec: Spec,
  config: Config,
): Promise<CheckpointImage | undefined> {
  const { annotations = {} } = spec;
  const name = containerName(annotations) ?? id;
  if (path === '' && (!asksForRestore(annotations) || restored.has(name))) return undefined;
  const { openCheckpoint } = await import('../sandbox/checkpoint');
  const options = { background: restoresInBackground(annotations), baseline: config.baseline };
  if (path !== '') return openCheckpoint(path, spec, options);
  const { checkpointAskedFor } = await import('../sandbox/checkpoint-request/restore');
  const directory = checkpointAskedFor(id, spec, config);
  if (directory !== undefined) return openCheckpoint(directory, spec, options);
  log.info('checkpoint', { container: id, message: `${name} is not in the checkpoint of its pod, and starts anew` });
  return undefined;
}

/**
 * Saves a container. Without options, or with those that say so, it runs on. Returns where it has been saved to.
 * @throws SiltError
 */
export async function checkpointTask(
  { workshop, log }: { readonly workshop: Workshop; readonly log: Log },
  init: InitTask,
  { id, path, options }: TaskRequest<'Checkpoint'>,
): Promise<string> {
  const given = unpackCheckpointOptions(options);
  const imagePath = given?.imagePath ? given.imagePath : path;
  if (imagePath === '')
    throw new SiltError('REQUEST_INVALID', `cannot checkpoint ${id}: no path to write to is given`, { id });
  const { state } = workshop;
  const source = {
    container: state.findContainer(id),
    pod: state.readPod(init.container.pod.id),
    spec: init.container.spec,
  };
  const { checkpoint } = await import('../sandbox/checkpoint');
  const { sayingOutcome } = await import('../sandbox/application');
  const leaveRunning = !(given?.exit ?? false);
  const wanted = {
    imagePath,
    workPath: given?.workPath ? { path: given.workPath } : workPathOfCri(id, init.container.spec),
    leaveRunning,
    tcpEstablished: given?.openTcp ?? false,
    externalUnixSockets: given?.externalUnixSockets ?? false,
    terminalOutput: init.stdio.terminalOutput,
    execs: new Map([...init.execs.values()].flatMap((exec) => (exec.process ? [[exec.process.pid, exec.id]] : []))),
    onWarning: (message: string) => log.warn('checkpoint', { container: id, message }),
  };
  // One that a program inside has asked for may be under way: two CRIUs cannot hold the same processes.
  await withPodLock(workshop, { pod: source.container.pod, id }, () =>
    sayingOutcome(state, [source.container], leaveRunning, () => checkpoint(workshop, source, wanted)),
  );
  return imagePath;
}

function workPathOfCri(id: string, spec: Spec): CheckpointOptions['workPath'] {
  const path = criCheckpointDirectory(id, spec);
  return path === undefined ? undefined : { path, found: true };
}

/** Answers the programs of a container that ask for checkpoints, as long as it runs; of nearly all none does. */
export async function serveCheckpointFile(
  { workshop, log }: { readonly workshop: Workshop; readonly log: Log },
  { id, init, checkpointFile }: Container,
): Promise<void> {
  if (checkpointFile === undefined) return;
  const { serveCheckpointFile: serve } = await import('../sandbox/checkpoint-request/serve');
  const onError = (message: string): void => log.warn('checkpoint', { container: id, message });
  const served = serve(workshop, id, checkpointFile, onError);
  void init.exited.then(() => served.close());
}
