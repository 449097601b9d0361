import { closeSync, fstatSync, statSync, writeSync, openSync } from 'node:fs';
import { SiltError, withContext } from '../errors';
import type { RootPlan } from '../gofer';
import type { Process as ProcessSpec, Spec } from '../oci';
import { C, type Report, type Started } from '../syscall';
import { type Cgroup, createCgroup, joinFiles, removeCgroup } from './cgroup';
import type { Config } from './config';
import { type ContainerPlan, type ContainerRequest, planContainer } from './container-plan';
import { attachDeviceFilter } from './device-filter';
import { Exec } from './exec';
import type { Pod } from './pod';
import { Process, pidOf } from './process';
import { planProcess } from './process-plan';
import { type LaunchPlan, launchProgram } from './programs/launch';
import { execFailure } from './exec-failure';
import { Seeding } from './seeding';
import { awaitReports } from './started';
import { NO_PROCESS, recordProcess } from './state';
import { createUpper, modeBits } from './upper';
import type { Workshop } from './workshop';

export type ContainerStatus = 'created' | 'running' | 'stopped';

/** The pid namespace that the spec names by path. @throws SiltError SPEC_INVALID when it cannot be opened. */
function openPidNamespace(spec: Spec): number | undefined {
  const path = spec.linux?.namespaces?.find(({ type }) => type === 'pid')?.path;
  if (!path) return undefined;
  try {
    return openSync(path, 'r');
  } catch (error) {
    const message = `$.linux.namespaces: cannot open the pid namespace ${path}: ${(error as Error).message}`;
    throw new SiltError('SPEC_INVALID', message, { path }, { cause: error });
  }
}

/** Steps to take back when a creation fails, newest first. */
class UndoStack {
  readonly #steps: (() => void | Promise<void>)[] = [];

  add(step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.reverse()) {
      try {
        await step();
      } catch {
        // The first failure is what the caller has to hear of; an undo that fails too must not hide it.
      }
    }
  }
}

/** A container whose first process exists: parked, running, or ended. */
export class Container {
  readonly execs = new Map<string, Exec>();
  #started = false;

  private constructor(
    private readonly workshop: Workshop,
    readonly pod: Pod,
    readonly request: ContainerRequest,
    readonly plan: ContainerPlan,
    readonly init: Process,
    private readonly launch: Started,
    private startFd: number | undefined,
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

  /**
   * Creates a container in a running pod, up to its first process, which is parked before exec.
   * @throws SiltError; nothing of the container is left then.
   */
  static async create(workshop: Workshop, pod: Pod, request: ContainerRequest): Promise<Container> {
    const { state } = workshop;
    const undo = new UndoStack();
    try {
      const mountPoint = state.addContainer(pod.plan.id, request.id);
      undo.add(() => state.removeContainer(pod.plan.id, request.id));
      const seeding = await Seeding.open(workshop, pod, request);
      undo.add(() => seeding?.giveUp());
      const layer = seeding?.layer;
      const plan = planContainer(workshop, pod, request, mountPoint, layer?.path);
      const record = {
        id: request.id,
        pod: pod.plan.id,
        bundle: request.bundle,
        created: new Date().toISOString(),
        annotations: request.spec.annotations ?? {},
        cgroup: plan.cgroup.cgroup,
        ...(layer && { seedLayer: { path: layer.path, use: layer.use, image: request.layers } }),
      };
      // Before the first thing that outlives this process: whoever cleans up after it has to know of the cgroup.
      state.writeContainer({ ...record, init: NO_PROCESS, upper: { path: '', device: 0 } });
      createCgroup(plan.cgroup);
      undo.add(() => removeCgroup(plan.cgroup.cgroup));
      const { deviceProgram } = plan.cgroup;
      if (deviceProgram) attachDeviceFilter(workshop.kernel, plan.cgroup.cgroup, deviceProgram);
      const upper = await makeUpper(workshop, pod, request, plan, seeding);
      seeding?.close();
      try {
        const container = await Container.#launch(workshop, pod, request, plan, upper, undo);
        state.writeContainer({
          ...record,
          init: recordProcess(container.init.pid),
          upper: { path: `/${request.id}/fs`, device: fstatSync(upper).dev },
        });
        return container;
      } finally {
        closeSync(upper);
      }
    } catch (error) {
      await undo.run();
      throw withContext(`cannot create container ${request.id}`, error);
    }
  }

  static async #launch(
    workshop: Workshop,
    pod: Pod,
    request: ContainerRequest,
    plan: ContainerPlan,
    upper: number,
    undo: UndoStack,
  ): Promise<Container> {
    const { kernel } = workshop;
    const program = launchProgram(plan.launch);
    const pidns = openPidNamespace(request.spec);
    const [startRead, startWrite] = kernel.pipe();
    let init: Process | undefined;
    const abort = (): void => {
      if (init && !init.exit) kernel.signal(init.fd, C.SIGKILL);
    };
    try {
      const donations: Record<string, number> = { ...request.stdio, sandbox: pod.sandbox.fd, upper, start: startRead };
      if (pod.userns !== undefined) donations['userns'] = pod.userns;
      if (pidns !== undefined) donations['pidns'] = pidns;
      const started = kernel.start(program, donations);
      undo.add(async () => {
        abort();
        await init?.exited;
        await pod.dropUpper(request.id);
      });
      const onReport = ({ name, fds }: Report): boolean => {
        if (name === 'process') init = new Process(kernel, pidOf(fds[0]!), fds[0]!);
        else if (name === 'terminal') request.onTerminal(fds[0]!);
        else return false;
        return true;
      };
      await awaitReports(kernel, started, ['process', 'built', 'ready'], {
        what: `creating container ${request.id}`,
        onReport,
        abort,
      });
      return new Container(workshop, pod, request, plan, init!, started, startWrite);
    } catch (error) {
      closeSync(startWrite);
      throw execFailure(error, plan.launch.process);
    } finally {
      closeSync(startRead);
      if (pidns !== undefined) closeSync(pidns);
    }
  }

  get status(): ContainerStatus {
    if (this.init.exit) return 'stopped';
    return this.#started ? 'running' : 'created';
  }

  /**
   * Lets the parked process go and waits until its exec has succeeded.
   * @throws SiltError WRONG_STATE unless the container is created; EXEC_NOT_FOUND when the exec fails.
   */
  async start(): Promise<void> {
    if (this.startFd === undefined || this.status !== 'created') {
      throw new SiltError('WRONG_STATE', `cannot start container ${this.id}: it is ${this.status}, not created`, {
        id: this.id,
      });
    }
    writeSync(this.startFd, 'x');
    this.#dropStart();
    try {
      // The socket closes when exec does.
      const report = await this.launch.reports.next();
      if (report) throw new SiltError('INTERNAL', `unexpected report ${report.name}`);
      this.#started = true;
    } catch (error) {
      // What could not be executed ends by itself; a delete that follows at once must find it stopped.
      if (!this.init.exit) this.workshop.kernel.signal(this.init.fd, C.SIGKILL);
      await this.init.exited;
      throw execFailure(error, this.plan.launch.process);
    } finally {
      this.launch.reports.close();
    }
  }

  #dropStart(): void {
    if (this.startFd !== undefined) closeSync(this.startFd);
    this.startFd = undefined;
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
    const plan = {
      namespaces: namespacesOf(this.plan.launch),
      cgroupFiles: joinFiles(this.cgroup),
      process: planProcess(this.workshop, this.spec, process, { layers: this.request.layers }),
    };
    const exec = new Exec(this.workshop.kernel, id, plan, this.init);
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
    this.#dropStart();
    if (!this.init.exit) this.workshop.kernel.signal(this.init.fd, C.SIGKILL);
    await this.init.exited;
    this.launch.reports.close();
    await this.pod.dropUpper(this.id);
    await removeCgroup(this.cgroup);
    this.workshop.state.removeContainer(this.pod.plan.id, this.id);
  }
}

/** The namespaces that an exec has to enter. Those that the container shares with the host are left out. */
function namespacesOf(launch: LaunchPlan): string[] {
  const wanted: Readonly<Record<string, boolean>> = {
    CLONE_NEWUSER: launch.userns,
    CLONE_NEWNS: true,
    CLONE_NEWPID: launch.pid !== 'host',
    CLONE_NEWNET: launch.join.network,
    CLONE_NEWIPC: launch.join.ipc,
    CLONE_NEWUTS: launch.join.uts,
    CLONE_NEWCGROUP: launch.cgroupNamespace,
  };
  return Object.keys(wanted).filter((name) => wanted[name]);
}

/** The container's upper, seeded when the request says so. Returns its fd, the caller's to close. */
async function makeUpper(
  workshop: Workshop,
  pod: Pod,
  request: ContainerRequest,
  plan: ContainerPlan,
  seeding: Seeding | undefined,
): Promise<number> {
  const { kernel, config } = workshop;
  const top = seeding?.layer?.hasRoot ? seeding.layer.path : request.layers[0]!;
  const stat = statSync(top);
  const root: RootPlan = plan.launch.root;
  const upper = createUpper(kernel, {
    id: request.id,
    owner: root.owner,
    rootOwner: { uid: stat.uid + (pod.idMaps ? root.owner.uid : 0), gid: stat.gid + (pod.idMaps ? root.owner.gid : 0) },
    rootMode: modeBits(stat),
    size: upperSize(request.spec, config),
  });
  try {
    await seeding?.fill(upper, plan);
    return upper;
  } catch (error) {
    closeSync(upper);
    throw error;
  }
}

/** Half the container's memory limit, so that a full upper is ENOSPC and not the OOM killer; the configured size without one. */
function upperSize(spec: Spec, config: Config): string {
  const limit = spec.linux?.resources?.memory?.limit;
  if (limit === undefined || limit <= 0) return config.upperSize;
  return `${Math.max(Math.floor(limit / 2), 65536)}`;
}
