import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../errors';
import { takeApart } from '../gofer';
import { parseProcess, parseResources, parseSpec, type Spec } from '../oci';
import {
  CgroupV1Metrics,
  CgroupV2Metrics,
  goZeroTime,
  packAny,
  RuncProcessDetails,
  type TaskAnswer,
  type TaskMethod,
  type TaskRequest,
  TaskStatus,
  specText,
  timestampOf,
  unpackCheckpointOptions,
} from '../proto';
import {
  allowCheckpointPath,
  allowSeed,
  cgroups,
  type Container,
  createContainer,
  FreezeRecord,
  seedOf,
  signalToParked,
  type OomWatch,
  updateContainerCgroup,
  watchOom,
  type Workshop,
} from '../sandbox';
import type { CheckpointImage } from '../sandbox/checkpoint';
import { C } from '../syscall';
import type { Log } from './log';
import { configWithOptions } from './runtime-options';
import type { PodKeeper } from './pod-keeper';
import type { Publisher } from './publisher';
import type { Caller } from './service-handlers';
import { Stdio } from './stdio';
import { type Ended, ExecTask, InitTask, type TaskProcess } from './task';
import { UnmatchedSeeds } from './unmatched-seeds';

type Handlers = {
  [Name in TaskMethod]: (request: TaskRequest<Name>, caller: Caller) => Promise<TaskAnswer<Name>> | TaskAnswer<Name>;
};

/** A container, and what the shim keeps beside it. */
interface Task {
  readonly init: InitTask;
  readonly freezer: FreezeRecord;
  readonly oom: OomWatch;
}

/** Few tasks have to do with checkpoints, and a shim that has none does not load what makes them. */
async function checkpointAt(path: string, spec: Spec): Promise<CheckpointImage> {
  const { openCheckpoint } = await import('../sandbox/checkpoint');
  return openCheckpoint(path, spec);
}

export interface TaskServiceOptions {
  readonly workshop: Workshop;
  readonly pod: PodKeeper;
  readonly namespace: string;
  readonly publisher: Publisher;
  readonly log: Log;
  /** Adds to a container's spec what its pod has for it. */
  readonly completeSpec: (spec: Spec) => Spec;
  /** Called by Shutdown once nothing is left. */
  readonly onShutdown: () => void;
}

/** containerd's Task service, version 2 and 3: the tasks of one pod. */
export class TaskService implements Handlers {
  readonly #tasks = new Map<string, Task>();
  /** Ids that a Create is working on: a second Create with the same id must not pass. */
  readonly #creating = new Set<string>();
  #wasUsed = false;

  readonly #unmatchedSeeds: UnmatchedSeeds;

  constructor(private readonly options: TaskServiceOptions) {
    this.#unmatchedSeeds = new UnmatchedSeeds((message) => options.log.warn(message));
  }

  async Create(request: TaskRequest<'Create'>, caller: Caller): Promise<TaskAnswer<'Create'>> {
    const { id, bundle } = request;
    const { publisher } = this.options;
    this.#wasUsed = true;
    if (this.#tasks.has(id) || this.#creating.has(id))
      throw new SiltError('CONTAINER_EXISTS', `container ${id} exists already`, { id });
    this.#creating.add(id);
    let stdio: Stdio | undefined;
    try {
      const spec = this.options.completeSpec(readSpec(bundle));
      const config = configWithOptions(this.options.workshop.config, request.options);
      const workshop = { ...this.options.workshop, config };
      const rootfs = takeApart(request.rootfs, spec.root?.path, bundle);
      const taskSpec = {
        ...spec,
        ...(spec.process ? { process: { ...spec.process, terminal: request.terminal } } : {}),
      };
      const checkpoint = request.checkpoint === '' ? undefined : await checkpointAt(request.checkpoint, taskSpec);
      const seed = checkpoint ? undefined : seedOf(spec.annotations ?? {});
      this.#unmatchedSeeds.add(spec.annotations ?? {});
      allowCheckpointPath(spec, config);
      const allowed = seed === undefined ? undefined : allowSeed(seed, config);
      stdio = await Stdio.open(workshop.kernel, { ...request, namespace: this.options.namespace });
      const pod = await this.options.pod.get(spec, id, config);
      const given = stdio;
      const container = await createContainer(workshop, pod, {
        id,
        bundle,
        spec: taskSpec,
        rootfs,
        seed: allowed,
        checkpoint,
        stdio: stdio.donate(),
        onTerminal: (master) => given.attachTerminal(master),
      });
      stdio.closeDonated();
      const oom = watchOom(workshop.kernel, container.cgroup, () =>
        publisher.publish('/tasks/oom', { containerId: id }),
      );
      await this.#serveCheckpointFile(container);
      const directory = workshop.state.containerPath(pod.id, id);
      publisher.publish('/tasks/create', {
        containerId: id,
        bundle,
        rootfs: request.rootfs,
        io: { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal },
        checkpoint: request.checkpoint,
        pid: container.init.pid,
      });
      // Before the exit is published, which InitTask does: Docker takes a container whose end it has heard of as it was then.
      void container.init.exited.then(() => oom.look());
      const init = new InitTask(container, stdio, publisher);
      const freezer = new FreezeRecord(workshop.kernel, container.cgroup, directory);
      const task = { init, freezer, oom };
      this.#tasks.set(id, task);
      // In a pid namespace that is not the container's own, its other processes outlive the first one.
      if (!['container', 'apart'].includes(container.plan.launch.pid))
        void container.init.exited.then(() => cgroups.killAll(container.cgroup));
      // The end of the sandbox kills what is in a pid namespace of the pod's, and only that.
      if (['host', 'apart'].includes(container.plan.launch.pid))
        void pod.sandbox.exited.then(() => cgroups.killAll(container.cgroup));
      // The end of the sandbox kills the container, and what is frozen can only die when it is thawed.
      void pod.sandbox.exited.then(() => (freezer.paused ? freezer.resume() : undefined));
      if (caller.isGone) await this.#takeBack(task);
      return { pid: container.init.pid };
    } catch (error) {
      stdio?.dispose();
      if (this.#tasks.size === 0 && this.#creating.size === 1) await this.options.pod.endUnlessHeld();
      throw error;
    } finally {
      this.#creating.delete(id);
    }
  }

  async #serveCheckpointFile({ id, init, checkpointFile }: Container): Promise<void> {
    if (checkpointFile === undefined) return;
    const { workshop, log } = this.options;
    const { serveCheckpointFile } = await import('../sandbox/serve-checkpoint-file');
    const onError = (message: string): void => log.warn('checkpoint', { container: id, message });
    const served = serveCheckpointFile(workshop, id, checkpointFile, onError);
    void init.exited.then(() => served.close());
  }

  /** containerd was killed while it waited for Create: the next one may have asked already and heard of no such task. */
  async #takeBack(task: Task): Promise<void> {
    await this.#deleteTask(task);
    if (this.#tasks.size === 0 && this.#creating.size === 1 && !this.options.pod.held) this.options.onShutdown();
  }

  async Start({ id, execId }: TaskRequest<'Start'>): Promise<TaskAnswer<'Start'>> {
    const { init } = this.#task(id);
    if (execId === '') {
      await init.start();
      return { pid: init.process.pid };
    }
    this.#refusePaused(this.#task(id), 'exec in');
    return { pid: (await this.#exec(init, execId).start()).pid };
  }

  /** A process that joins a frozen cgroup stands still in the middle of its creation, and runs when nobody expects it any more. */
  #refusePaused({ init, freezer }: Task, what: string): void {
    if (freezer.paused && !init.exit) {
      throw new SiltError('WRONG_STATE', `cannot ${what} container ${init.id}: it is paused; resume it first`, {
        id: init.id,
      });
    }
  }

  async Delete({ id, execId }: TaskRequest<'Delete'>): Promise<TaskAnswer<'Delete'>> {
    const task = this.#task(id);
    return execId === '' ? this.#deleteTask(task) : this.#deleteExec(task.init, execId);
  }

  async #deleteTask(task: Task): Promise<TaskAnswer<'Delete'>> {
    const { init } = task;
    // With the container that holds the pod it ends; a moment later containerd reads this shim's log no more.
    if (init.id === this.options.pod.id) this.#unmatchedSeeds.report();
    await init.container.delete();
    const exit = await init.wait();
    task.oom.stop();
    for (const exec of init.execs.values()) exec.stdio.dispose();
    init.stdio.dispose();
    this.#tasks.delete(init.id);
    if (this.idle) await this.options.pod.endUnlessHeld();
    const answer = { pid: init.process.pid, exitStatus: exit.status, exitedAt: timestampOf(exit.at) };
    this.options.publisher.publish('/tasks/delete', { containerId: init.id, ...answer });
    return answer;
  }

  #deleteExec(init: InitTask, execId: string): TaskAnswer<'Delete'> {
    const exec = this.#exec(init, execId);
    const { process, exit } = exec;
    if (process && !exit)
      throw new SiltError('WRONG_STATE', `cannot delete exec ${execId}: it is running; kill it first`, { id: execId });
    init.execs.delete(execId);
    init.container.execs.delete(execId);
    exec.stdio.dispose();
    return {
      pid: process?.pid ?? 0,
      exitStatus: exit?.status ?? 0,
      exitedAt: exit ? timestampOf(exit.at) : goZeroTime,
    };
  }

  async Exec(request: TaskRequest<'Exec'>): Promise<TaskAnswer<'Exec'>> {
    const { init } = this.#task(request.id);
    this.#refusePaused(this.#task(request.id), 'exec in');
    const process = parseProcess(specText('process', request.spec), `the exec ${request.execId}`);
    const exec = init.container.addExec(request.execId, { ...process, terminal: request.terminal });
    try {
      const stdio = await Stdio.open(this.options.workshop.kernel, { ...request, namespace: this.options.namespace });
      init.execs.set(request.execId, new ExecTask(init, exec, stdio, this.options.publisher));
    } catch (error) {
      init.container.execs.delete(request.execId);
      throw error;
    }
    this.options.publisher.publish('/tasks/exec-added', { containerId: request.id, execId: request.execId });
    return {};
  }

  State({ id, execId }: TaskRequest<'State'>): TaskAnswer<'State'> {
    const { init } = this.#task(id);
    const one: TaskProcess = execId === '' ? init : this.#exec(init, execId);
    const { exit, stdio } = one;
    const { stdin, stdout, stderr, terminal } = stdio.request;
    return {
      id,
      execId,
      bundle: init.container.request.bundle,
      pid: one.process?.pid ?? 0,
      status: one instanceof InitTask ? this.#initStatus(this.#task(id)) : execStatus(one),
      stdin,
      stdout,
      stderr,
      terminal,
      exitStatus: exit?.status ?? 0,
      exitedAt: exit ? timestampOf(exit.at) : goZeroTime,
    };
  }

  #initStatus({ init, freezer }: Task): number {
    const { status } = init.container;
    if (status !== 'stopped' && freezer.paused) return TaskStatus.PAUSED;
    return { created: TaskStatus.CREATED, running: TaskStatus.RUNNING, stopped: TaskStatus.STOPPED }[status];
  }

  async Wait({ id, execId }: TaskRequest<'Wait'>): Promise<TaskAnswer<'Wait'>> {
    const { init } = this.#task(id);
    const exit: Ended = await (execId === '' ? init : this.#exec(init, execId)).wait();
    return { exitStatus: exit.status, exitedAt: timestampOf(exit.at) };
  }

  async Kill({ id, execId, signal, all }: TaskRequest<'Kill'>): Promise<TaskAnswer<'Kill'>> {
    const { init, freezer } = this.#task(id);
    if (signal < 1 || signal > 64)
      throw new SiltError('REQUEST_INVALID', `cannot kill ${id}: ${signal} is no signal; signals are 1 to 64`, { id });
    if (execId !== '') {
      const { process } = this.#exec(init, execId);
      if (!process)
        throw new SiltError('WRONG_STATE', `cannot kill exec ${execId}: it has not been started`, { id: execId });
      process.signal(signal);
      return {};
    }
    if (all) await this.#signalAll(init, signal);
    else init.process.signal(init.container.status === 'created' ? signalToParked(signal) : signal);
    // On cgroup v1 a frozen process dies only once it is thawed; runc thaws it too.
    if (signal === C.SIGKILL && freezer.paused) await freezer.resume();
    return {};
  }

  /** The end of the first process is the end of all: SIGKILL needs no list, except in a pid namespace that is shared. */
  async #signalAll(init: InitTask, signal: number): Promise<void> {
    const { container } = init;
    if (signal === C.SIGKILL) await cgroups.killAll(container.cgroup);
    else await cgroups.signalAll(container.cgroup, signal);
  }

  Pids({ id }: TaskRequest<'Pids'>): TaskAnswer<'Pids'> {
    const { init } = this.#task(id);
    const execs = new Map([...init.execs.values()].map((exec) => [exec.process?.pid, exec.id]));
    const processes = cgroups.listPids(init.container.cgroup).map((pid) => {
      const execId = execs.get(pid);
      return execId === undefined ? { pid } : { pid, info: packAny(RuncProcessDetails, { execId }) };
    });
    return { processes };
  }

  ResizePty({ id, execId, width, height }: TaskRequest<'ResizePty'>): TaskAnswer<'ResizePty'> {
    const { init } = this.#task(id);
    (execId === '' ? init : this.#exec(init, execId)).stdio.resize(width, height);
    return {};
  }

  CloseIO({ id, execId, stdin }: TaskRequest<'CloseIO'>): TaskAnswer<'CloseIO'> {
    const { init } = this.#task(id);
    if (stdin) (execId === '' ? init : this.#exec(init, execId)).stdio.closeStdin();
    return {};
  }

  async Pause({ id }: TaskRequest<'Pause'>): Promise<TaskAnswer<'Pause'>> {
    const { init, freezer } = this.#task(id);
    if (init.container.status === 'stopped')
      throw new SiltError('WRONG_STATE', `cannot pause container ${id}: it is stopped`, { id });
    await freezer.pause();
    this.options.publisher.publish('/tasks/paused', { containerId: id });
    return {};
  }

  async Resume({ id }: TaskRequest<'Resume'>): Promise<TaskAnswer<'Resume'>> {
    const { freezer } = this.#task(id);
    if (!freezer.paused) throw new SiltError('WRONG_STATE', `cannot resume container ${id}: it is not paused`, { id });
    await freezer.resume();
    this.options.publisher.publish('/tasks/resumed', { containerId: id });
    return {};
  }

  Stats({ id }: TaskRequest<'Stats'>): TaskAnswer<'Stats'> {
    const { cgroup } = this.#task(id).init.container;
    const metrics = cgroups.readMetrics(cgroup);
    const stats = metrics.version === 2 ? packAny(CgroupV2Metrics, metrics) : packAny(CgroupV1Metrics, metrics);
    return { stats };
  }

  async Update({ id, resources }: TaskRequest<'Update'>): Promise<TaskAnswer<'Update'>> {
    const { cgroup } = this.#task(id).init.container;
    const wanted = parseResources(specText('linuxResources', resources), 'the update');
    await updateContainerCgroup(this.options.workshop.kernel, cgroup, wanted);
    return {};
  }

  Connect({ id }: TaskRequest<'Connect'>): TaskAnswer<'Connect'> {
    return { shimPid: process.pid, taskPid: this.#tasks.get(id)?.init.process.pid ?? 0, version: '0.1.0' };
  }

  /** Saves a container. Without options, or with those that say so, it runs on. */
  async Checkpoint({ id, path, options }: TaskRequest<'Checkpoint'>): Promise<TaskAnswer<'Checkpoint'>> {
    const { init } = this.#task(id);
    const { workshop, log, publisher } = this.options;
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
      workPath: given?.workPath ? given.workPath : undefined,
      leaveRunning,
      tcpEstablished: given?.openTcp ?? false,
      externalUnixSockets: given?.externalUnixSockets ?? false,
      execs: new Map([...init.execs.values()].flatMap((exec) => (exec.process ? [[exec.process.pid, exec.id]] : []))),
      onWarning: (message: string) => log.warn('checkpoint', { container: id, message }),
    };
    await sayingOutcome(state, [source.container], leaveRunning, () => checkpoint(workshop, source, wanted));
    publisher.publish('/tasks/checkpointed', { containerId: id, checkpoint: imagePath });
    return {};
  }

  Shutdown(): TaskAnswer<'Shutdown'> {
    if (this.idle && !this.options.pod.held) this.options.onShutdown();
    return {};
  }

  /**
   * Whether the containers that there are have been cleaned up from outside, as containerd took this shim for dead, or have no
   * bundle any more: a Create that was on its way when containerd was killed is one that the next containerd knows nothing of.
   */
  get forgotten(): boolean {
    const { state } = this.options.workshop;
    const gone = ({ init: { container } }: Task): boolean =>
      !existsSync(state.containerPath(container.pod.id, container.id)) || !existsSync(container.request.bundle);
    return this.#creating.size === 0 && [...this.#tasks.values()].every(gone);
  }

  /** Whether a container has ever been asked for. */
  get wasUsed(): boolean {
    return this.#wasUsed;
  }

  /** Whether there is no container, nor one in the making. */
  get idle(): boolean {
    return this.#tasks.size === 0 && this.#creating.size === 0;
  }

  /** Kills every container, and waits until their ends have been published. */
  async killAll(): Promise<void> {
    this.#unmatchedSeeds.report();
    for (const { init } of this.#tasks.values()) {
      if (!init.exit) init.process.signal(C.SIGKILL);
      await init.wait();
    }
  }

  /** Kills and removes everything; for the end of the shim. */
  async end(): Promise<void> {
    for (const task of [...this.#tasks.values()]) {
      if (!task.init.exit) task.init.process.signal(C.SIGKILL);
      await this.#deleteTask(task);
    }
  }

  #task(id: string): Task {
    const task = this.#tasks.get(id);
    if (!task) throw new SiltError('CONTAINER_NOT_FOUND', `there is no container ${id} in this pod`, { id });
    return task;
  }

  #exec(init: InitTask, execId: string): ExecTask {
    const exec = init.execs.get(execId);
    if (!exec) throw new SiltError('PROCESS_NOT_FOUND', `container ${init.id} has no exec ${execId}`, { id: execId });
    return exec;
  }
}

function execStatus({ process, exit }: TaskProcess): number {
  if (exit) return TaskStatus.STOPPED;
  return process ? TaskStatus.RUNNING : TaskStatus.CREATED;
}

function readSpec(bundle: string): Spec {
  const path = join(bundle, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new SiltError(
      'SPEC_INVALID',
      `cannot read the container's spec ${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    );
  }
  return parseSpec(text, path);
}
