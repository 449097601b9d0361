import { SiltError } from '../errors';
import type { Spec } from '../oci';
import { type TaskRequest, unpackCheckpointOptions } from '../proto';
import type { Container, Workshop } from '../sandbox';
import type { CheckpointImage } from '../sandbox/checkpoint';
import { criCheckpointDirectory } from './cri-directory';
import type { Log } from './log';
import type { InitTask } from './task';

/** Few tasks have to do with checkpoints, and a shim that has none does not load what makes them. */
export async function checkpointAt(path: string, spec: Spec): Promise<CheckpointImage> {
  const { openCheckpoint } = await import('../sandbox/checkpoint');
  return openCheckpoint(path, spec);
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
    workPath: given?.workPath ? given.workPath : criCheckpointDirectory(id, init.container.spec),
    leaveRunning,
    tcpEstablished: given?.openTcp ?? false,
    externalUnixSockets: given?.externalUnixSockets ?? false,
    execs: new Map([...init.execs.values()].flatMap((exec) => (exec.process ? [[exec.process.pid, exec.id]] : []))),
    onWarning: (message: string) => log.warn('checkpoint', { container: id, message }),
  };
  await sayingOutcome(state, [source.container], leaveRunning, () => checkpoint(workshop, source, wanted));
  return imagePath;
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
