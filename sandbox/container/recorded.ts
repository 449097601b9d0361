import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SiltError } from '../../errors';
import type { Process as ProcessSpec, Spec } from '../../oci';
import { C } from '../../syscall';
import { sayingOutcome } from '../application';
import { type Cgroup, killAll, listPids, signalAll } from '../cgroup';
import type { CheckpointOptions } from '../checkpoint';
import { removeContainerCgroup } from './cgroup';
import { Exec } from '../exec/exec';
import { execFailure } from '../exec/exec-failure';
import { type ExecExtras, type ExecPlan, pidMode, planExec } from '../exec/exec-plan';
import { FreezeRecord } from '../state/freeze';
import { Hooks } from './hooks';
import { namespacesHeld, Pod } from '../pod/pod';
import { memoryFailure } from '../pager/record';
import { waitingForHook, withPodLock } from '../state/lock';
import { endOf, type Lifetime, Process, signalToParked } from '../process/process';
import { endPod } from '../pod/start';
import { isParked, startThroughSocket } from '../state/start-socket';
import { type ContainerState, isSameProcess, NO_PROCESS, openRecorded, type PodState } from '../state/state';
import { warningsOf, type Workshop } from '../workshop';

/** How long a killed process may take to end before all of the cgroup is thawed and killed. */
const PATIENCE_MS = 10_000;

export type RecordedStatus = 'created' | 'running' | 'paused' | 'stopped';

/**
 * A container as its state on disk has it: what one command needs of a container that another process has created. Every
 * question is answered by what is so now.
 */
export class RecordedContainer {
  #spec: Spec | undefined;

  constructor(
    private readonly workshop: Workshop,
    readonly state: ContainerState,
  ) {}

  /** All of a root, by id. */
  static all(workshop: Workshop): RecordedContainer[] {
    const states = workshop.state.containers().sort((a, b) => (a.id < b.id ? -1 : 1));
    return states.map((state) => new RecordedContainer(workshop, state));
  }

  /** By its id, or a beginning of it that no other has. @throws SiltError CONTAINER_NOT_FOUND, REQUEST_INVALID. */
  static find(workshop: Workshop, idOrPrefix: string): RecordedContainer {
    return new RecordedContainer(workshop, workshop.state.findContainer(idOrPrefix));
  }

  /** By its whole id: for what cannot be undone. @throws SiltError CONTAINER_NOT_FOUND. */
  static named(workshop: Workshop, id: string): RecordedContainer {
    const state = workshop.state.containerIfAny(id);
    if (state) return new RecordedContainer(workshop, state);
    const message = `container ${id} does not exist in ${workshop.state.root}`;
    throw new SiltError('CONTAINER_NOT_FOUND', message, { id, path: workshop.state.root });
  }

  get id(): string {
    return this.state.id;
  }

  get cgroup(): Cgroup {
    return this.state.cgroup;
  }

  /** The spec as it was when the container was created. */
  get spec(): Spec {
    return (this.#spec ??= this.workshop.state.readSpec(this.state));
  }

  /** Why a container that was restored without its memory was ended; undefined when all is well. */
  get memoryFailure(): string | undefined {
    return memoryFailure(this.workshop.state.containerPath(this.state.pod, this.id));
  }

  get status(): RecordedStatus {
    if (!isSameProcess(this.state.init)) return 'stopped';
    if (isParked(this.#directory)) return 'created';
    return this.#freezer.paused ? 'paused' : 'running';
  }

  /** The first process; 0 when it has ended. */
  get pid(): number {
    return isSameProcess(this.state.init) ? this.state.init.pid : 0;
  }

  /** All processes, as the host numbers them. */
  get pids(): number[] {
    return listPids(this.cgroup);
  }

  get #directory(): string {
    return this.workshop.state.containerPath(this.state.pod, this.id);
  }

  get #hooks(): Hooks {
    const { id, spec } = this;
    return new Hooks(this.workshop.kernel, { id, bundle: this.state.bundle, spec });
  }

  /** For who holds the pod's lock. */
  get #hooksUnderLock(): Hooks {
    const { workshop, id, spec, state } = this;
    const subject = { id, bundle: state.bundle, spec };
    return new Hooks(workshop.kernel, subject, (wait) => waitingForHook(workshop.state, state.pod, wait));
  }

  get #freezer(): FreezeRecord {
    return new FreezeRecord(this.workshop.kernel, this.cgroup, this.#directory);
  }

  /**
   * Lets the parked process go and waits until its exec has succeeded.
   * @throws SiltError WRONG_STATE unless the container is created; EXEC_NOT_FOUND when the exec fails.
   */
  async start(): Promise<void> {
    await this.#locked(async () => {
      const { status } = this;
      if (status !== 'created') {
        const words = status === 'stopped' ? 'a container that has stopped' : `an already ${status} container`;
        throw new SiltError('WRONG_STATE', `cannot start ${words}: ${this.id}`, { id: this.id });
      }
      await this.#letGo();
    });
    // What they do to the container, with commands that take the lock, is not waited for under the lock.
    try {
      await this.#hooks.started(this.state.init.pid);
    } catch (error) {
      await this.kill(C.SIGKILL).catch(ignoreEnded);
      await this.ended();
      throw error;
    }
  }

  async #letGo(): Promise<void> {
    const { kernel } = this.workshop;
    const { pid } = this.state.init;
    const pidfd = openRecorded(kernel, this.state.init);
    if (pidfd === undefined) throw this.#notRunning('start');
    try {
      await this.#hooksUnderLock.start({ pid, pidfd }, () => this.#planExec(this.spec.process!));
      await startThroughSocket(kernel, this.#directory, this.state.startFailures ?? []);
    } catch (error) {
      // What could not be executed ends by itself; a delete that follows at once must find it stopped.
      kernel.signal(pidfd, C.SIGKILL);
      await this.ended();
      const { args: argv, cwd } = this.spec.process!;
      throw execFailure(error, { argv, cwd });
    } finally {
      closeSync(pidfd);
    }
  }

  /** Saves the container. See {@link checkpoint} for the errors. */
  async checkpoint(options: CheckpointOptions): Promise<void> {
    const { leaveRunning } = options;
    await sayingOutcome(this.workshop.state, [this.state], leaveRunning, () => this.#checkpoint(options));
  }

  async #checkpoint(options: CheckpointOptions): Promise<void> {
    await this.#locked(async () => {
      const pod = this.workshop.state.readPod(this.state.pod);
      if (this.status === 'created' || this.status === 'stopped') throw this.#notRunning('checkpoint');
      const { checkpoint } = await import('../checkpoint');
      await checkpoint(this.workshop, { container: this.state, pod, spec: this.spec }, options);
      if (!options.leaveRunning) await this.ended();
    });
  }

  /** Signals the first process, or with `all` every one. @throws SiltError WRONG_STATE when it has ended. */
  async kill(wanted: number, { all = false } = {}): Promise<void> {
    const { kernel } = this.workshop;
    const signal = this.status === 'created' ? signalToParked(wanted) : wanted;
    // In a pid namespace that is not the container's own, its other processes do not end with the first; nor before it.
    const outlives = signal === C.SIGKILL && pidMode(this.spec) !== 'container' && this.pids.length > 0;
    if (all || outlives) {
      const { keepFrozen } = this.#freezer;
      if (signal === C.SIGKILL) await killAll(this.cgroup, { keepFrozen });
      else await signalAll(this.cgroup, signal, keepFrozen);
      return;
    }
    const fd = openRecorded(kernel, this.state.init);
    try {
      if (fd === undefined || !kernel.signal(fd, signal)) throw this.#notRunning('kill');
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
    // On cgroup v1 a frozen process dies only once it is thawed; runc thaws it too.
    if (signal === C.SIGKILL && this.#freezer.frozen) await this.#freezer.resume().catch(unlessEnded(this));
  }

  /** Waits for the end of a checkpoint, whose CRIU lets a process run for its own purposes while it saves it. @throws SiltError WRONG_STATE. */
  async pause(): Promise<void> {
    await this.#locked(async () => {
      const { status } = this;
      if (status === 'stopped') throw this.#notRunning('pause');
      if (status === 'paused') {
        throw new SiltError('WRONG_STATE', `cannot pause container ${this.id}: it is paused already`, { id: this.id });
      }
      await this.#freezer.pause();
    });
  }

  /** Waits as {@link pause} does. @throws SiltError WRONG_STATE. */
  async resume(): Promise<void> {
    await this.#locked(async () => {
      const { status } = this;
      if (status === 'stopped') throw this.#notRunning('resume');
      // Frozen is what a silt that was killed can leave a container that nobody paused.
      if (status !== 'paused' && !this.#freezer.frozen) {
        throw new SiltError('WRONG_STATE', `cannot resume container ${this.id}: container not paused`, { id: this.id });
      }
      await this.#freezer.resume();
    });
  }

  /**
   * A further process, not started yet.
   * @throws SiltError WRONG_STATE unless the container runs, or is paused and `ignorePaused` says that this is known.
   */
  addExec(
    process: ProcessSpec,
    { ignorePaused = false, lifetime, extras }: { ignorePaused?: boolean; lifetime: Lifetime; extras?: ExecExtras },
  ): Exec {
    const { status, workshop } = this;
    const { kernel } = workshop;
    if (status === 'stopped') throw this.#notRunning('exec in');
    if (status === 'paused' && !ignorePaused) {
      throw new SiltError(
        'WRONG_STATE',
        `cannot exec in a paused container: ${this.id} (use --ignore-paused to override)`,
        {
          id: this.id,
        },
      );
    }
    const plan = this.#planExec(process, extras);
    const fd = openRecorded(kernel, this.state.init);
    if (fd === undefined) throw this.#notRunning('exec in');
    const subject = { id: this.id, bundle: this.state.bundle, spec: this.spec };
    return new Exec(this.workshop, 'exec', plan, { fd }, subject, lifetime);
  }

  #planExec(process: ProcessSpec, extras?: ExecExtras): ExecPlan {
    const { idMaps, sandbox, namespaces } = this.workshop.state.readPod(this.state.pod);
    const target = {
      spec: this.spec,
      cgroup: this.cgroup,
      init: this.state.init,
      pod: { idMaps, namespaces: namespaces ?? namespacesHeld(sandbox.pid) },
    };
    return planExec(this.workshop, target, process, [`/proc/${this.state.init.pid}/root`], extras);
  }

  /** How the first process ends, as a shell has it; undefined when it has ended and its parent has taken note of that. */
  async exitStatus(): Promise<number | undefined> {
    const { kernel } = this.workshop;
    const { init } = this.state;
    const fd = openRecorded(kernel, init);
    return fd === undefined ? undefined : endOf(kernel, init.pid, fd);
  }

  /** Settles when the first process has ended. */
  async ended(): Promise<void> {
    const fd = openRecorded(this.workshop.kernel, this.state.init);
    if (fd !== undefined) await new Process(this.workshop.kernel, this.state.init.pid, fd, 'of-its-own').exited;
  }

  /** After a SIGKILL. @throws SiltError TIMEOUT with the pids that did not end, as {@link killAll}. */
  async #endedByForce(): Promise<void> {
    const ended = this.ended();
    const patience = new AbortController();
    const impatient = sleep(PATIENCE_MS, true, { signal: patience.signal }).catch(() => false);
    const late = await Promise.race([ended.then(() => false), impatient]);
    patience.abort();
    // Whoever holds it frozen may hold it for long.
    if (late) await killAll(this.cgroup);
    await ended;
  }

  /**
   * Removes a container and all that it has of the host, and with the last of its containers the pod.
   * @throws SiltError WRONG_STATE while it runs, unless `force` says to kill it.
   */
  async delete({ force = false } = {}): Promise<void> {
    await this.#locked(async () => {
      const { status } = this;
      if (!force && (status === 'running' || status === 'paused')) {
        throw new SiltError('WRONG_STATE', `cannot delete container ${this.id} that is not stopped: ${status}`, {
          id: this.id,
        });
      }
      this.#refuseForeign();
      if (status !== 'stopped') {
        await this.kill(C.SIGKILL).catch(ignoreEnded);
        await this.#endedByForce();
      }
      await this.#remove();
    });
  }

  async #remove(): Promise<void> {
    const { kernel, state } = this.workshop;
    const podState = state.podIfAny(this.state.pod);
    const pod = podState && isSameProcess(podState.sandbox) ? Pod.attach(kernel, podState) : undefined;
    const last = state.containersOf(this.state.pod).every((id) => id === this.id);
    // Until the first process was recorded nothing of the container stays in the cgroup, and who is in it may be another's.
    if (this.state.init.pid !== NO_PROCESS.pid) await killAll(this.cgroup);
    if (!last && this.state.upper.path !== '' && !this.state.upper.onHost) await pod?.dropUpper(this.id);
    await removeContainerCgroup(this.cgroup);
    const hooks = this.#hooksIfAny;
    state.removeContainer(this.state.pod, this.id);
    await hooks?.deleted(warningsOf(this.workshop));
    if (last) await endPod(this.workshop, this.state.pod, pod);
    else pod?.detach();
  }

  /** A pod that a shim keeps is the engine's. */
  #refuseForeign(): void {
    const { socket, sandbox } = this.#podIfAny ?? {};
    if (socket === undefined || !sandbox || !isSameProcess(sandbox)) return;
    throw new SiltError(
      'WRONG_STATE',
      `container ${this.id} is its engine's to delete: the shim at ${socket} keeps it`,
      {
        id: this.id,
      },
    );
  }

  /** None for a container whose creation was cut short before its spec was kept. */
  get #hooksIfAny(): Hooks | undefined {
    try {
      return this.#hooksUnderLock;
    } catch (error) {
      if (error instanceof SiltError && error.code === 'CONTAINER_NOT_FOUND') return undefined;
      throw error;
    }
  }

  get #podIfAny(): PodState | undefined {
    return this.workshop.state.podIfAny(this.state.pod);
  }

  async #locked(body: () => Promise<void>): Promise<void> {
    const { id } = this;
    const what = `container ${id}`;
    await withPodLock(this.workshop, { pod: this.state.pod, id, what }, async () => {
      // It may have been deleted while this one waited for the lock.
      if (!this.workshop.state.containerIfAny(id))
        throw new SiltError('CONTAINER_NOT_FOUND', `${what} does not exist any more`, { id });
      await body();
    });
  }

  #notRunning(what: string): SiltError {
    return new SiltError('WRONG_STATE', `cannot ${what} container ${this.id}: container not running`, { id: this.id });
  }
}

/** For what is done for a container to end: whoever deletes it at the same time may be faster. */
function unlessEnded(container: RecordedContainer): (error: unknown) => void {
  return (error) => {
    if (container.status !== 'stopped') throw error;
  };
}

/** For a kill of what may have ended by itself. */
export function ignoreEnded(error: unknown): void {
  if (!(error instanceof SiltError) || error.code !== 'WRONG_STATE') throw error;
}
