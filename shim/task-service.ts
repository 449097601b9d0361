import { existsSync } from 'node:fs';
import { SiltError } from '../errors';
import { parseProcess, parseResources } from '../oci';
import { goZeroTime, specText, type TaskAnswer, type TaskMethod, type TaskRequest, timestampOf } from '../proto';
import { podEnding, updateContainer } from '../sandbox';
import { withPodLock } from '../sandbox/state/lock';
import { checkpointTask } from './checkpoint-task';
import { createTask, type TaskCreation } from './create-task';
import type { Caller } from './service-handlers';
import { Stdio } from './stdio';
import { ExecTask, type InitTask, type Task, type TaskProcess } from './task';
import { packMetrics, pidsOf, stateOf } from './task-answers';
import { checkSignal, killTask, killWholeTask, pauseTask, refusePaused, resumeTask } from './task-control';
import { UnmatchedSeeds } from './unmatched-seeds';

type Handlers = {
  [Name in TaskMethod]: (request: TaskRequest<Name>, caller: Caller) => Promise<TaskAnswer<Name>> | TaskAnswer<Name>;
};

export interface TaskServiceOptions extends Omit<TaskCreation, 'noteAnnotations' | 'restored'> {
  /** Called by Shutdown once nothing is left. */
  readonly onShutdown: () => void;
}

/** containerd's Task service, version 2 and 3: the tasks of one pod. */
export class TaskService implements Handlers {
  readonly #tasks = new Map<string, Task>();
  /** Creates that are under way, by container: a second one with the same id must not pass. */
  readonly #creating = new Map<string, Promise<unknown>>();
  /** Deletes that are under way, by container; none rejects. */
  readonly #deleting = new Map<string, Promise<unknown>>();
  #wasUsed = false;
  #ending = false;

  readonly #unmatchedSeeds: UnmatchedSeeds;
  readonly #creation: TaskCreation;

  constructor(private readonly options: TaskServiceOptions) {
    this.#unmatchedSeeds = new UnmatchedSeeds((message) => options.log.warn(message));
    this.#creation = {
      ...options,
      restored: new Set(),
      noteAnnotations: (annotations) => this.#unmatchedSeeds.add(annotations),
    };
  }

  async Create(request: TaskRequest<'Create'>, caller: Caller): Promise<TaskAnswer<'Create'>> {
    const { id } = request;
    this.#wasUsed = true;
    this.#refuseCreate(id);
    const creation = this.#create(request, caller).finally(() => this.#creating.delete(id));
    this.#creating.set(id, creation);
    return creation;
  }

  async #create(request: TaskRequest<'Create'>, caller: Caller): Promise<TaskAnswer<'Create'>> {
    const { id } = request;
    try {
      const task = await createTask(this.#creation, request);
      this.#tasks.set(id, task);
      if (caller.isGone || this.#ending) await this.#takeBack(task);
      if (this.#ending) throw podEnding(this.options.pod.id, id);
      return { pid: task.init.process.pid };
    } catch (error) {
      if (this.#tasks.size === 0 && this.#creating.size === 1) await this.options.pod.endUnlessHeld();
      throw error;
    }
  }

  #refuseCreate(id: string): void {
    if (this.#tasks.has(id) || this.#creating.has(id))
      throw new SiltError('CONTAINER_EXISTS', `container ${id} exists already`, { id });
    if (this.#ending) throw podEnding(this.options.pod.id, id);
  }

  /** containerd was killed while it waited for Create: the next one may have asked already and heard of no such task. */
  async #takeBack(task: Task): Promise<void> {
    await this.#deleteInTurn(task.init.id);
    if (this.#tasks.size === 0 && this.#creating.size === 1 && !this.options.pod.held) this.options.onShutdown();
  }

  async Start({ id, execId }: TaskRequest<'Start'>): Promise<TaskAnswer<'Start'>> {
    const { init } = this.#task(id);
    if (execId === '') {
      await init.start();
      return { pid: init.process.pid };
    }
    refusePaused(this.#task(id), 'exec in');
    return { pid: (await this.#exec(init, execId).start()).pid };
  }

  async Delete({ id, execId }: TaskRequest<'Delete'>): Promise<TaskAnswer<'Delete'>> {
    if (execId === '') return (await this.#deleteInTurn(id)) ?? this.#refuseAbsent(id);
    for (let other; (other = this.#deleting.get(id));) await other;
    return this.#deleteExec(this.#task(id).init, execId);
  }

  /** Deletes a task, after all who have begun to. Undefined: they have. */
  async #deleteInTurn(id: string): Promise<TaskAnswer<'Delete'> | undefined> {
    for (let other; (other = this.#deleting.get(id));) await other;
    // From here to the end of this call at once: nobody comes between.
    const task = this.#tasks.get(id);
    if (!task) return undefined;
    const deletion = this.#deleteTask(task);
    this.#deleting.set(
      id,
      this.#answered(deletion).finally(() => this.#deleting.delete(id)),
    );
    return deletion;
  }

  /**
   * Settles once the answer to a Delete has been written. containerd's CRI deletes a pod's task twice at once when the start of the pod fails
   * late: for the failure, and for the end that it is told of. Whoever hears "not found" closes the connection, on which the other one
   * still waits for its answer, so that has to come first.
   */
  async #answered(deletion: Promise<unknown>): Promise<void> {
    await deletion.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
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
    refusePaused(this.#task(request.id), 'exec in');
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
    const task = this.#task(id);
    return stateOf(task, this.#process(task, execId), execId);
  }

  async Wait({ id, execId }: TaskRequest<'Wait'>): Promise<TaskAnswer<'Wait'>> {
    const exit = await this.#process(this.#task(id), execId).wait();
    return { exitStatus: exit.status, exitedAt: timestampOf(exit.at) };
  }

  async Kill(request: TaskRequest<'Kill'>): Promise<TaskAnswer<'Kill'>> {
    const task = this.#task(request.id);
    checkSignal(request);
    await killTask(task, this.#process(task, request.execId), request);
    return {};
  }

  Pids({ id }: TaskRequest<'Pids'>): TaskAnswer<'Pids'> {
    return pidsOf(this.#task(id).init);
  }

  ResizePty({ id, execId, width, height }: TaskRequest<'ResizePty'>): TaskAnswer<'ResizePty'> {
    this.#process(this.#task(id), execId).stdio.resize(width, height);
    return {};
  }

  CloseIO({ id, execId, stdin }: TaskRequest<'CloseIO'>): TaskAnswer<'CloseIO'> {
    const one = this.#process(this.#task(id), execId);
    if (stdin) one.stdio.closeStdin();
    return {};
  }

  async Pause({ id }: TaskRequest<'Pause'>): Promise<TaskAnswer<'Pause'>> {
    await this.#locked(id, pauseTask);
    this.options.publisher.publish('/tasks/paused', { containerId: id });
    return {};
  }

  async Resume({ id }: TaskRequest<'Resume'>): Promise<TaskAnswer<'Resume'>> {
    await this.#locked(id, resumeTask);
    this.options.publisher.publish('/tasks/resumed', { containerId: id });
    return {};
  }

  /** Not in the middle of a checkpoint: CRIU would wait for a process that another one has frozen. */
  #locked(id: string, body: (task: Task) => Promise<void>): Promise<void> {
    const task = this.#task(id);
    const { pod } = task.init.container;
    return withPodLock(this.options.workshop, { pod: pod.id, id }, () => body(task));
  }

  Stats({ id }: TaskRequest<'Stats'>): TaskAnswer<'Stats'> {
    return { stats: packMetrics(this.#task(id).init.container.cgroup) };
  }

  async Update({ id, resources }: TaskRequest<'Update'>): Promise<TaskAnswer<'Update'>> {
    const { cgroup, pod, request } = this.#task(id).init.container;
    const wanted = parseResources(specText('linuxResources', resources), 'the update');
    await updateContainer(this.options.workshop, { id, pod: pod.id, bundle: request.bundle, cgroup }, wanted);
    return {};
  }

  Connect({ id }: TaskRequest<'Connect'>): TaskAnswer<'Connect'> {
    return { shimPid: process.pid, taskPid: this.#tasks.get(id)?.init.process.pid ?? 0, version: '0.1.0' };
  }

  async Checkpoint(request: TaskRequest<'Checkpoint'>): Promise<TaskAnswer<'Checkpoint'>> {
    const { id } = request;
    const checkpoint = await checkpointTask(this.options, this.#task(id).init, request);
    this.options.publisher.publish('/tasks/checkpointed', { containerId: id, checkpoint });
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

  /** Kills every container, and waits until their ends have been published. @throws what the first said that does not end, after all. */
  async killAll(): Promise<void> {
    this.#unmatchedSeeds.report();
    const ends = await Promise.allSettled([...this.#tasks.values()].map((task) => this.#end(task)));
    const failed = ends.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** Kills all of a container, whoever has it frozen, and waits until its end has been published. */
  async #end(task: Task): Promise<void> {
    const { init } = task;
    if (!init.exit) await killWholeTask(task);
    await init.wait();
  }

  /**
   * Kills and removes everything; for the end of the shim. What is in the making is taken back when it is made. Returns whether nothing is left:
   * not what the kernel does not let die, which is logged.
   */
  async end(): Promise<boolean> {
    this.#ending = true;
    // All at once: one that does not end keeps none of the others.
    const ends = [...this.#tasks].map(async ([id, task]) => {
      try {
        await this.#end(task);
        await this.#deleteInTurn(id);
        return true;
      } catch (error) {
        this.options.log.error('cannot end a container', { container: id, error: (error as Error).message });
        return false;
      }
    });
    return (await Promise.all(ends)).every(Boolean);
  }

  /** Settles when the Creates that are under way have ended. */
  async createsEnded(): Promise<void> {
    await Promise.allSettled(this.#creating.values());
  }

  #task(id: string): Task {
    return this.#tasks.get(id) ?? this.#refuseAbsent(id);
  }

  #refuseAbsent(id: string): never {
    throw new SiltError('CONTAINER_NOT_FOUND', `there is no container ${id} in this pod`, { id });
  }

  /** Its first process without an exec id. */
  #process({ init }: Task, execId: string): TaskProcess {
    return execId === '' ? init : this.#exec(init, execId);
  }

  #exec(init: InitTask, execId: string): ExecTask {
    const exec = init.execs.get(execId);
    if (!exec) throw new SiltError('PROCESS_NOT_FOUND', `container ${init.id} has no exec ${execId}`, { id: execId });
    return exec;
  }
}
