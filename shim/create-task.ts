import { takeApart } from '../gofer';
import { readBundle, type Spec } from '../oci';
import type { TaskRequest } from '../proto';
import {
  allowCheckpointPath,
  allowSeed,
  cgroups,
  type Container,
  containerName,
  createContainer,
  FreezeRecord,
  type Pod,
  seedOf,
  watchOom,
  type Workshop,
} from '../sandbox';
import { checkpointFor, type RestoredNames, serveCheckpointFile } from './checkpoint-task';
import type { CriWishes } from './cri-wishes';
import type { Log } from './log';
import type { PodKeeper } from './pod-keeper';
import type { Publisher } from './publisher';
import { configWithOptions } from './runtime-options';
import type { CompletedSpec } from './sandbox-files';
import { Stdio } from './stdio';
import { InitTask, type Task } from './task';

export interface TaskCreation {
  readonly workshop: Workshop;
  readonly pod: PodKeeper;
  readonly namespace: string;
  readonly publisher: Publisher;
  readonly log: Log;
  readonly restored: RestoredNames;
  readonly wishes: CriWishes;
  /** Adds to a container's spec what its pod has for it. */
  readonly completeSpec: (spec: Spec) => CompletedSpec;
  /** Is told the annotations of each container. */
  readonly noteAnnotations: (annotations: Readonly<Record<string, string>>) => void;
}

/**
 * Creates the container that the request describes, in the pod, which is started if this is its first, and publishes that.
 * @throws SiltError; nothing of the container is left then.
 */
export async function createTask(context: TaskCreation, request: TaskRequest<'Create'>): Promise<Task> {
  const { id, bundle } = request;
  const { publisher } = context;
  const { spec, sharedMemory } = context.completeSpec(readBundle(bundle));
  const config = await context.wishes.applyTo(configWithOptions(context.workshop.config, request.options), spec);
  const workshop = { ...context.workshop, config };
  const rootfs = takeApart(request.rootfs, spec.root?.path, bundle);
  const taskSpec = {
    ...spec,
    ...(spec.process ? { process: { ...spec.process, terminal: request.terminal } } : {}),
  };
  const checkpoint = await checkpointFor(context, request, taskSpec, config);
  const seed = checkpoint ? undefined : seedOf(spec.annotations ?? {});
  context.noteAnnotations(spec.annotations ?? {});
  allowCheckpointPath(spec, config);
  const allowed = seed === undefined ? undefined : allowSeed(seed, config);
  const stdio = await Stdio.open(workshop.kernel, { ...request, namespace: context.namespace });
  try {
    const pod = await context.pod.get(spec, id, config);
    const container = await createContainer(workshop, pod, {
      id,
      bundle,
      spec: taskSpec,
      sharedMemory,
      rootfs,
      seed: allowed,
      checkpoint,
      stdio: stdio.donate(),
      onTerminal: (master) => stdio.attachTerminal(master, checkpoint?.terminalOutput),
    });
    stdio.closeDonated();
    const oom = watchOom(workshop.kernel, container.cgroup, () => publisher.publish('/tasks/oom', { containerId: id }));
    await serveCheckpointFile(context, container);
    container.pager?.complete.catch((error: unknown) =>
      context.log.error('checkpoint', {
        container: id,
        message: `the container was ended: ${(error as Error).message}`,
      }),
    );
    if (checkpoint) context.restored.add(containerName(spec.annotations ?? {}) ?? id);
    publisher.publish('/tasks/create', {
      containerId: id,
      bundle,
      rootfs: request.rootfs,
      io: { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal },
      checkpoint: checkpoint?.directory ?? '',
      pid: container.init.pid,
    });
    // Before the exit is published, which InitTask does: Docker takes a container whose end it has heard of as it was then.
    void container.init.exited.then(() => oom.look());
    const init = new InitTask(container, stdio, publisher);
    const freezer = new FreezeRecord(workshop.kernel, container.cgroup, workshop.state.containerPath(pod.id, id));
    killWhatOutlives(container, pod, freezer);
    return { init, freezer, oom };
  } catch (error) {
    stdio.dispose();
    throw error;
  }
}

/** What neither the end of the first process nor that of the sandbox takes along. */
function killWhatOutlives(container: Container, pod: Pod, freezer: FreezeRecord): void {
  const { pid } = container.plan.launch;
  // In a pid namespace that is not the container's own, its other processes outlive the first one.
  if (!['container', 'apart'].includes(pid)) void container.init.exited.then(() => cgroups.killAll(container.cgroup));
  // The end of the sandbox kills what is in a pid namespace of the pod's, and only that.
  if (['host', 'apart'].includes(pid)) void pod.sandbox.exited.then(() => cgroups.killAll(container.cgroup));
  // The end of the sandbox kills the container, and what is frozen can only die when it is thawed.
  void pod.sandbox.exited.then(() => (freezer.frozen ? freezer.resume() : undefined));
}
