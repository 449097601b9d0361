import { SiltError } from '../../errors';
import type { Process as ProcessSpec, Spec } from '../../oci';
import { C } from '../../syscall';
import { type CheckpointFile, sayOutcome } from '../application';
import type { Cgroup } from '../cgroup';
import { removeContainerCgroup } from './cgroup';
import type { ContainerPlan, ContainerRequest } from './plan';
import { Exec } from '../exec/exec';
import { execFailure } from '../exec/exec-failure';
import { planExec } from '../exec/exec-plan';
import type { Hooks } from './hooks';
import type { StartedPager } from '../pager';
import type { Pod } from '../pod/pod';
import type { Process } from '../process/process';
import { warningsOf, type Workshop } from '../workshop';
import type { Parked } from './parked';

export type ContainerStatus = 'created' | 'running' | 'stopped';

/** A container whose first process exists: parked, running, or ended. */
export class Container {
  readonly execs = new Map<string, Exec>();
  #begun = false;
  #started = false;

  /** See {@link createContainer}. */
  constructor(
    private readonly workshop: Workshop,
    readonly pod: Pod,
    readonly request: ContainerRequest,
    readonly plan: ContainerPlan,
    private readonly hooks: Hooks,
    readonly init: Process,
    private readonly parked: Parked,
    /** To be served and closed by whoever keeps the container. */
    readonly checkpointFile: CheckpointFile | undefined,
  ) {}

  get id(): string {
    return this.request.id;
  }

  get spec(): Spec {
    return this.request.spec;
  }

  get cgroup(): Cgroup {
    return this.plan.cgroup.cgroup;
  }

  /** Brings the memory of a container that was restored without it. */
  get pager(): StartedPager | undefined {
    return this.parked.pager;
  }

  get status(): ContainerStatus {
    if (this.init.exit) return 'stopped';
    return this.#started ? 'running' : 'created';
  }

  /**
   * Lets the parked process go and waits until its exec has succeeded.
   * @throws SiltError WRONG_STATE unless the container is created; EXEC_NOT_FOUND when the exec fails; HOOK_FAILED.
   * Whatever fails, the container has ended then.
   */
  async start(): Promise<void> {
    if (this.#begun || this.status !== 'created') {
      throw new SiltError('WRONG_STATE', `cannot start container ${this.id}: it is ${this.status}, not created`, {
        id: this.id,
      });
    }
    this.#begun = true;
    try {
      const enter = () => planExec(this.workshop, this, this.spec.process!, this.request.rootfs.layers);
      await this.hooks.start({ pid: this.init.pid, pidfd: this.init.fd }, enter);
      await this.parked.start();
      this.#started = true;
      if (this.request.checkpoint && this.checkpointFile)
        sayOutcome(this.workshop.state.containerPath(this.pod.id, this.id), 'restore');
      await this.hooks.started(this.init.pid);
    } catch (error) {
      // What could not be executed ends by itself; a delete that follows at once must find it stopped.
      if (!this.init.exit) this.workshop.kernel.signal(this.init.fd, C.SIGKILL);
      await this.parked.abandon();
      await this.init.exited;
      if ((error as NodeJS.ErrnoException).code === 'EPIPE') throw endedBeforeStart(this.id, error);
      throw execFailure(error, this.plan.launch.process);
    }
  }

  /** A further process, not started yet. @throws SiltError CONTAINER_EXISTS for an exec id in use, WRONG_STATE. */
  addExec(id: string, process: ProcessSpec): Exec {
    if (this.execs.has(id)) {
      throw new SiltError(
        'CONTAINER_EXISTS',
        `exec ${id} of container ${this.id} exists already; choose another exec id`,
        { id },
      );
    }
    if (this.status !== 'running') {
      throw new SiltError('WRONG_STATE', `cannot exec in container ${this.id}: it is ${this.status}, not running`, {
        id: this.id,
      });
    }
    const plan = planExec(this.workshop, this, process, this.request.rootfs.layers);
    const exec = new Exec(this.workshop, id, plan, this.init, this.request);
    this.execs.set(id, exec);
    return exec;
  }

  /**
   * Removes what is left of a container whose process has ended or never ran.
   * @throws SiltError WRONG_STATE while it runs.
   */
  async delete(): Promise<void> {
    if (this.status === 'running') {
      throw new SiltError('WRONG_STATE', `cannot delete container ${this.id}: it is running; kill it first`, {
        id: this.id,
      });
    }
    if (!this.init.exit) this.workshop.kernel.signal(this.init.fd, C.SIGKILL);
    await this.parked.abandon();
    await this.init.exited;
    if (this.plan.launch.root.upper) await this.pod.dropUpper(this.id);
    await removeContainerCgroup(this.cgroup);
    this.workshop.state.removeContainer(this.pod.id, this.id);
    await this.hooks.deleted(warningsOf(this.workshop));
  }
}

/** Nobody reads the pipe that lets a container go. */
function endedBeforeStart(id: string, cause: unknown): SiltError {
  return new SiltError('WRONG_STATE', `cannot start container ${id}: it has been killed`, { id }, { cause });
}
