import { closeSync, fstatSync, statSync, writeSync, openSync } from 'node:fs';
import { SiltError, withContext } from '../errors';
import { type IdMaps, planRoot, type RootPlan, type RootPlanInput } from '../gofer';
import type { Process as ProcessSpec, Spec } from '../oci';
import { C, type Kernel, type Report, type Started } from '../syscall';
import {
  type Cgroup,
  type CgroupPlan,
  createCgroup,
  describeInsideView,
  joinFiles,
  planCgroup,
  removeCgroup,
} from './cgroup';
import type { Config } from './config';
import { attachDeviceFilter } from './device-filter';
import { Exec } from './exec';
import type { Host } from './host';
import type { Pod, PodNamespaces } from './pod';
import { Process, pidOf } from './process';
import { planProcess } from './process-plan';
import { type LaunchPlan, launchProgram, type PidMode } from './programs/launch';
import { execFailure } from './exec-failure';
import { type AllowedDevice, seedUpper } from './seed';
import { awaitReports } from './started';
import { NO_PROCESS, recordProcess, type StateDirectory } from './state';
import { createUpper, modeBits } from './upper';

/** What a container is created from, apart from its pod. */
export interface ContainerRequest {
  readonly id: string;
  readonly bundle: string;
  readonly spec: Spec;
  /** Read-only layers of the root filesystem, the topmost first, as absolute host paths. */
  readonly layers: readonly string[];
  /** Host path of the archive that the upper starts from, already allowed. */
  readonly seed: string | undefined;
  /** Fds for the process, by the names in STDIO; none when it has a terminal. Borrowed. */
  readonly stdio: Readonly<Record<string, number>>;
  /** Called with the pty's master, which it then owns. */
  readonly onTerminal: (master: number) => void;
}

export type ContainerStatus = 'created' | 'running' | 'stopped';

/** What containers are made with: the same for all containers of a process. */
export interface Workshop {
  readonly kernel: Kernel;
  readonly host: Host;
  readonly config: Config;
  readonly state: StateDirectory;
}

/** Everything about one container that is decided before the first side effect. */
export interface ContainerPlan {
  readonly cgroup: CgroupPlan;
  readonly launch: LaunchPlan;
}

/**
 * Plans a container: pure but for looking at the host.
 * @throws SiltError for everything in the spec that can be refused beforehand.
 */
export function planContainer(
  workshop: Workshop,
  pod: { readonly idMaps: IdMaps | null; readonly namespaces: PodNamespaces },
  request: Pick<ContainerRequest, 'id' | 'bundle' | 'spec' | 'layers'>,
  mountPoint: string,
): ContainerPlan {
  const { host } = workshop;
  const { spec } = request;
  const cgroup = planCgroup({
    id: request.id,
    cgroupsPath: spec.linux?.cgroupsPath,
    resources: spec.linux?.resources,
    hierarchies: host.hierarchies,
  });
  const cgroupNamespace = hasOwn(spec, 'cgroup');
  const root = planRoot({
    spec,
    bundle: request.bundle,
    layers: request.layers,
    mountPoint,
    idMaps: pod.idMaps,
    kindOf: (path) => host.kindOf(path),
    cgroup: insideView(cgroup.cgroup),
  });
  const process = spec.process;
  if (!process)
    throw new SiltError('SPEC_INVALID', '$.process: a container needs a process', { jsonPath: '$.process' });
  const launch: LaunchPlan = {
    id: request.id,
    pid: pidMode(spec),
    userns: pod.idMaps !== null,
    cgroupNamespace,
    join: pod.namespaces,
    cgroupFiles: joinFiles(cgroup.cgroup),
    root,
    process: planProcess(workshop, spec, process, { layers: request.layers }),
  };
  return { cgroup, launch };
}

function insideView(cgroup: Cgroup): RootPlanInput['cgroup'] {
  if (cgroup.mode === 'v2') return 'v2';
  const { binds, links } = describeInsideView(cgroup);
  return { directories: binds.map(({ source, name }) => ({ name, hostPath: source })), links };
}

function hasOwn(spec: Spec, type: string): boolean {
  return (spec.linux?.namespaces ?? []).some((namespace) => namespace.type === type && !namespace.path);
}

function pidMode(spec: Spec): PidMode {
  const namespace = (spec.linux?.namespaces ?? []).find(({ type }) => type === 'pid');
  if (!namespace) return 'host';
  return namespace.path ? 'pod' : 'container';
}

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
      const plan = planContainer(workshop, pod, request, mountPoint);
      const record = {
        id: request.id,
        pod: pod.plan.id,
        bundle: request.bundle,
        created: new Date().toISOString(),
        annotations: request.spec.annotations ?? {},
        cgroup: plan.cgroup.cgroup,
      };
      // Before the first thing that outlives this process: whoever cleans up after it has to know of the cgroup.
      state.writeContainer({ ...record, init: NO_PROCESS, upper: { path: '', device: 0 } });
      createCgroup(plan.cgroup);
      undo.add(() => removeCgroup(plan.cgroup.cgroup));
      const { deviceProgram } = plan.cgroup;
      if (deviceProgram) attachDeviceFilter(workshop.kernel, plan.cgroup.cgroup, deviceProgram);
      const upper = await makeUpper(workshop, pod, request, plan);
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
): Promise<number> {
  const { kernel, config } = workshop;
  const top = request.layers[0]!;
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
    if (request.seed !== undefined) {
      const { seed, spec } = request;
      const { cgroupFiles } = plan.launch;
      await seedUpper(workshop, { seed, upper, idMaps: pod.idMaps, cgroupFiles, devices: allowedDevices(spec) });
    }
    return upper;
  } catch (error) {
    closeSync(upper);
    throw error;
  }
}

/** The device nodes that the spec gives the container may also stand in its seed. */
function allowedDevices(spec: Spec): AllowedDevice[] {
  return (spec.linux?.devices ?? []).flatMap(({ type, major = 0, minor = 0 }) =>
    type === 'p' ? [] : [{ type: type === 'b' ? ('block' as const) : ('char' as const), major, minor }],
  );
}

/** Half the container's memory limit, so that a full upper is ENOSPC and not the OOM killer; the configured size without one. */
function upperSize(spec: Spec, config: Config): string {
  const limit = spec.linux?.resources?.memory?.limit;
  if (limit === undefined || limit <= 0) return config.upperSize;
  return `${Math.max(Math.floor(limit / 2), 65536)}`;
}
