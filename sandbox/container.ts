import { closeSync, fstatSync, openSync, type Stats, statSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { SiltError, withContext } from '../errors';
import { hostOwner, type IdMaps, isPodRoots, type Owner, toHost, unmappedVolumes } from '../gofer';
import { type Process as ProcessSpec, type Spec, specWarnings } from '../oci';
import { C, type FailureNames, type Report, type ReportChannel } from '../syscall';
import { applicationCheckpoint, applicationMounts, CheckpointFile, sayOutcome } from './application';
import { type Cgroup, memoryInUse } from './cgroup';
import { makeContainerCgroup, removeContainerCgroup } from './container-cgroup';
import { containerIdMaps, idsWarning } from './container-ids';
import { type ContainerPlan, type ContainerRequest, cpuinfoFile, planContainer } from './container-plan';
import { traceFirst } from './cpuid';
import { Exec } from './exec';
import { namespacesOf, planExec } from './exec-plan';
import type { StartedPager } from './pager';
import type { Pod } from './pod';
import { Process, pidOf } from './process';
import { watchProgress } from './progress';
import { launchProgram } from './programs/launch';
import { START_SOCKET, START_STEP } from './programs/process';
import { REPORTS } from './programs/reports';
import { execFailure } from './exec-failure';
import { type HookPlace, Hooks } from './hooks';
import { idmapFailure } from './idmap-failure';
import { allowedDevices, Seeding } from './seeding';
import { awaitReports } from './started';
import { openMountFds } from './mount-fds';
import { isOfEndedProcess, openOwnNamespaces, refuseForeignNamespaces } from './namespace-paths';
import { handOverListener } from './seccomp-listener';
import { listenForStart } from './start-socket';
import { type ContainerState, NO_PROCESS, NO_UPPER, recordProcess } from './state';
import { createCover, createUpper, filestorePath, modeBits } from './upper';
import type { Workshop } from './workshop';

export type ContainerStatus = 'created' | 'running' | 'stopped';

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

/** A first process that waits to be let go: a launcher before its exec, or one that CRIU has restored. */
interface Parked {
  /** Brings the memory of what was restored without it. */
  readonly pager?: StartedPager | undefined;
  /** Lets it go, and settles when it runs. @throws SiltError when it could not. */
  start(): Promise<void>;
  /** It is killed, or about to be: frees what was kept for the start. May be called at any time. */
  abandon(): Promise<void>;
}

/** A launcher, which waits for a byte on a pipe and closes its report socket by its exec. */
class ParkedLauncher implements Parked {
  #startFd: number | undefined;

  constructor(
    private readonly reports: ReportChannel,
    startFd: number,
  ) {
    this.#startFd = startFd;
  }

  async start(): Promise<void> {
    this.release();
    try {
      const report = await this.reports.next();
      if (report) throw new SiltError('INTERNAL', `unexpected report ${report.name}`);
    } finally {
      this.reports.close();
    }
  }

  /** Lets it go without waiting: it lives on when this process ends, to wait at its socket. */
  release(): void {
    writeSync(this.#startFd!, 'x');
    this.#drop();
  }

  abandon(): Promise<void> {
    this.#drop();
    this.reports.close();
    return Promise.resolve();
  }

  #drop(): void {
    if (this.#startFd !== undefined) closeSync(this.#startFd);
    this.#startFd = undefined;
  }
}

/** A container whose first process exists: parked, running, or ended. */
export class Container {
  readonly execs = new Map<string, Exec>();
  /** To be served and closed by whoever keeps the container. */
  checkpointFile: CheckpointFile | undefined;
  #begun = false;
  #started = false;

  private constructor(
    private readonly workshop: Workshop,
    readonly pod: Pod,
    readonly request: ContainerRequest,
    readonly plan: ContainerPlan,
    private readonly hooks: Hooks,
    readonly init: Process,
    private readonly parked: Parked,
    private readonly startFailures: FailureNames | undefined,
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
    if (pod.isEnding()) throw podEnding(pod.id, request.id);
    const { state } = workshop;
    const undo = new UndoStack();
    const hooks = new Hooks(workshop.kernel, request);
    let launched = false;
    // A creation that fails once there is something for hooks to see ends as a deletion does (runtime.md, "Lifecycle").
    undo.add(() => (launched ? hooks.deleted(warningsOf(workshop)) : undefined));
    try {
      refuseForeignNamespaces(workshop.kernel, state, pod, request.id, request.spec);
      const mountPoint = state.addContainer(pod.id, request.id);
      undo.add(() => state.removeContainer(pod.id, request.id));
      const seeding = await Seeding.open(workshop, pod, request);
      undo.add(() => seeding?.giveUp());
      const layer = seeding?.layer;
      const made = await makeCheckpointFile(workshop, pod, request);
      undo.add(() => made?.file.close());
      const ownMounts =
        made || request.checkpoint ? applicationMounts(request.spec, dirname(mountPoint), made?.path) : [];
      const plan = planContainer(workshop, pod, { ...request, ownMounts }, mountPoint, layer?.path);
      specWarnings(request.spec, workshop.host.lastCapability).forEach(warningsOf(workshop));
      const told = idsWarning(pod, request.spec);
      for (const warning of [...(told === undefined ? [] : [told]), ...unmappedVolumes(plan.launch.root)])
        warningsOf(workshop)(`container ${request.id}: ${warning}`);
      const record = {
        id: request.id,
        pod: pod.id,
        bundle: request.bundle,
        created: new Date().toISOString(),
        annotations: request.spec.annotations ?? {},
        cgroup: plan.cgroup.cgroup,
        ...(pod.idMaps && !plan.idMaps ? { hostIds: true } : {}),
        ...filestoreRecord(plan),
        ...(layer && { seedLayer: { path: layer.path, use: layer.use, image: request.rootfs.layers } }),
        stdio: Object.values(request.stdio).map((fd) => fstatSync(fd).ino),
        ...(made && { checkpointFile: true }),
      };
      // Before the first thing that outlives this process: whoever cleans up after it has to know of cgroup and filestore.
      state.writeContainer({ ...record, init: NO_PROCESS, upper: NO_UPPER });
      state.writeSpec(pod.id, request.id, request.spec);
      if (plan.cpu) writeFileSync(cpuinfoFile(dirname(mountPoint)), plan.cpu.cpuinfo, { mode: 0o444 });
      const delegateTo = ownsCgroup(request.spec, plan) ? plan.launch.root.owner : undefined;
      const cgroup = await makeContainerCgroup(workshop.kernel, request.id, plan.cgroup, delegateTo);
      undo.add(() => removeContainerCgroup(plan.cgroup.cgroup));
      undo.add(() => cgroup.release());
      const upper = await makeUpper(workshop, pod, request, plan, seeding);
      const mountFds = await openMountFds(workshop.kernel, plan.launch.root, plan.idMaps);
      seeding?.close();
      launched = true;
      const stopWatching = watchRestore(workshop, request, plan);
      try {
        const make = request.checkpoint ? Container.#restore : Container.#launch;
        const container = await make(workshop, pod, request, plan, hooks, upper, undo, mountFds, made?.path);
        container.checkpointFile = made?.file;
        state.writeContainer({
          ...record,
          init: recordProcess(container.init.pid),
          upper: recordUpper(request.id, plan, upper),
          ...(container.startFailures ? { startFailures: container.startFailures } : {}),
          ...(container.pager ? { pager: recordProcess(container.pager.keeper.pid) } : {}),
        });
        await cgroup.release();
        // The process is on record: from here on others find it.
        if (request.lifetime === 'of-its-own' && container.parked instanceof ParkedLauncher) {
          container.parked.release();
          await container.parked.abandon();
        }
        return container;
      } finally {
        stopWatching();
        if (upper !== undefined) closeSync(upper);
        for (const fd of Object.values(mountFds)) closeSync(fd);
      }
    } catch (error) {
      await undo.run();
      if (pod.isEnding() || (pod.id !== request.id && isOfEndedProcess(error)))
        throw podEnding(pod.id, request.id, error);
      throw withContext(`cannot create container ${request.id}`, error);
    }
  }

  static async #launch(
    workshop: Workshop,
    pod: Pod,
    request: ContainerRequest,
    plan: ContainerPlan,
    hooks: Hooks,
    upper: number | undefined,
    undo: UndoStack,
    mountFds: Readonly<Record<string, number>>,
  ): Promise<Container> {
    const { kernel } = workshop;
    const program = launchProgram(plan.launch);
    const namespaces = openOwnNamespaces(request.spec);
    const lifetime = request.lifetime ?? 'with-caller';
    const directory = workshop.state.containerPath(pod.id, request.id);
    const socket = lifetime === 'of-its-own' ? listenForStart(kernel, directory) : undefined;
    const cover = createCover(kernel, plan.upper);
    const [startRead, startWrite] = kernel.pipe();
    let init: Process | undefined;
    const abort = (): void => {
      if (init && !init.exit) kernel.signal(init.fd, C.SIGKILL);
    };
    try {
      const donations: Record<string, number> = {
        ...request.stdio,
        ...mountFds,
        ...namespaces,
        sandbox: pod.sandbox.fd,
        start: startRead,
      };
      if (upper !== undefined) donations['upper'] = upper;
      if (cover !== undefined) donations['cover'] = cover;
      if (plan.idMaps && pod.userns !== undefined) donations['userns'] = pod.userns;
      if (socket !== undefined) donations[START_SOCKET] = socket;
      const started = kernel.start(program, donations);
      undo.add(async () => {
        abort();
        await init?.exited;
        // Unreaped it would keep the sandbox, process 1 above it, from ending.
        if (init && lifetime === 'of-its-own') kernel.reapGroup(init.pid, false);
        if (upper !== undefined) await pod.dropUpper(request.id);
      });
      const onReport = ({ name, fds }: Report): boolean => {
        if (name === 'process') init = new Process(kernel, pidOf(fds[0]!), fds[0]!, lifetime);
        else if (name === 'terminal') request.onTerminal(fds[0]!);
        else if (name === 'listener') {
          const { pid } = init!;
          handOverListener(kernel, request, { pid, initPid: pid, status: 'creating' }, fds[0]!);
          closeSync(fds[0]!);
        } else return false;
        return true;
      };
      await awaitReports(kernel, started, ['process', 'built', 'ready'], {
        what: `creating container ${request.id}`,
        onReport,
        onQuestion: (name) =>
          name === REPORTS.untraced
            ? traceFirst(workshop, plan.cpu!, init!, directory, lifetime)
            : hooks.create({ pid: init!.pid, pidfd: init!.fd }, hookPlace(pod, request, plan)),
        abort,
      });
      const failures = lifetime === 'of-its-own' ? program.failuresFrom(START_STEP) : undefined;
      const parked = new ParkedLauncher(started.reports, startWrite);
      return new Container(workshop, pod, request, plan, hooks, init!, parked, failures);
    } catch (error) {
      closeSync(startWrite);
      throw idmapFailure(kernel, execFailure(error, plan.launch.process), pod.userns);
    } finally {
      closeSync(startRead);
      for (const fd of [...Object.values(namespaces), socket, cover]) if (fd !== undefined) closeSync(fd);
    }
  }

  /** The processes of a checkpoint, held by CRIU where a launcher would be parked. */
  static async #restore(
    workshop: Workshop,
    pod: Pod,
    request: ContainerRequest,
    plan: ContainerPlan,
    hooks: Hooks,
    upper: number | undefined,
    undo: UndoStack,
    mountFds: Readonly<Record<string, number>>,
    checkpointFile: string | undefined,
  ): Promise<Container> {
    undo.add(() => pod.dropUpper(request.id));
    const cover = createCover(workshop.kernel, plan.upper);
    const slave = checkpointFile === undefined ? undefined : openSync(checkpointFile, C.O_RDWR | C.O_NOCTTY);
    try {
      const { Restored } = await import('./checkpoint');
      const restored = await Restored.prepare(workshop, pod, {
        id: request.id,
        plan: plan.launch,
        image: request.checkpoint!,
        stdio: request.stdio,
        // Without an upper there was nowhere to put the checkpoint's, which has been refused.
        upper: upper!,
        cover,
        mountFds,
        checkpointFile: slave,
        devices: allowedDevices(request.spec),
        onTerminal: request.onTerminal,
        lifetime: request.lifetime ?? 'with-caller',
        cgroup: plan.cgroup.cgroup,
        cpu: plan.cpu,
        stateDirectory: workshop.state.containerPath(pod.id, request.id),
        workPath: request.workPath,
        onQuestion: (init) => hooks.create({ pid: init.pid, pidfd: init.fd }, hookPlace(pod, request, plan)),
      });
      return new Container(workshop, pod, request, plan, hooks, restored.init, restored, undefined);
    } finally {
      for (const fd of [cover, slave]) if (fd !== undefined) closeSync(fd);
    }
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
      const place = planExec(this.workshop, this, this.spec.process!, this.request.rootfs.layers);
      await this.hooks.start({ pid: this.init.pid, pidfd: this.init.fd }, place);
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

/** What a container hears that comes while its pod goes, at whichever step it noticed. */
export function podEnding(pod: string, id: string, cause?: unknown): SiltError {
  const message = `cannot create container ${id}: its pod ${pod} is ending`;
  return new SiltError('WRONG_STATE', message, { id }, cause === undefined ? undefined : { cause });
}

/** Nobody reads the pipe that lets a container go. */
function endedBeforeStart(id: string, cause: unknown): SiltError {
  return new SiltError('WRONG_STATE', `cannot start container ${id}: it has been killed`, { id }, { cause });
}

function warningsOf({ warn }: Workshop): (message: string) => void {
  return warn ?? (() => undefined);
}

/** How far a restore is, by the memory that is in use again. */
function watchRestore({ onProgress }: Workshop, { checkpoint }: ContainerRequest, plan: ContainerPlan): () => void {
  if (!checkpoint) return () => undefined;
  const total = checkpoint.manifest.files.reduce((sum, { size }) => sum + size, 0);
  return watchProgress(onProgress, () => ({ done: Number(memoryInUse(plan.cgroup.cgroup)), total }));
}

/** Where createContainer hooks run: in the container, as far as it is built, and beside its root filesystem. */
function hookPlace(pod: Pod, { spec }: ContainerRequest, { launch }: ContainerPlan): HookPlace {
  return { namespaces: namespacesOf(spec, pod), cgroupFiles: launch.cgroupFiles, cwd: launch.root.mountPoint };
}

function filestoreRecord({ upper }: ContainerPlan): Pick<ContainerState, 'filestore'> {
  const filestore = filestorePath(upper);
  return filestore === undefined ? {} : { filestore };
}

function recordUpper(id: string, plan: ContainerPlan, upper: number | undefined): ContainerState['upper'] {
  const names = plan.launch.root.upper;
  if (plan.upper.kind === 'none' && plan.upper.changes !== undefined)
    return { path: plan.upper.changes, device: statSync(plan.upper.changes).dev, onHost: true };
  return upper === undefined || names === null
    ? NO_UPPER
    : { path: `/${id}/${names.fs}`, device: fstatSync(upper).dev };
}

/** For a container whose programs may ask for checkpoints, or that is restored with such a file open. */
async function makeCheckpointFile(
  { kernel }: Workshop,
  pod: Pod,
  { spec, checkpoint, lifetime = 'with-caller' }: ContainerRequest,
): Promise<{ file: CheckpointFile; path: string } | undefined> {
  const wanted = applicationCheckpoint(spec);
  if (!wanted && checkpoint?.manifest.checkpointFile === undefined) return undefined;
  const owner = hostOwner(containerIdMaps(pod, spec), 0, 0, '$.linux.uidMappings');
  return CheckpointFile.make(kernel, { owner, writable: wanted?.enable ?? false, lifetime });
}

/** Who owns the root directory; an owner whom the pod does not have is its root, as no other can be given to it. */
function rootOwner(idMaps: IdMaps | null, { uid, gid }: Stats, podRoot: Owner): Owner {
  if (idMaps === null) return { uid, gid };
  return { uid: toHost(idMaps.uids, uid) ?? podRoot.uid, gid: toHost(idMaps.gids, gid) ?? podRoot.gid };
}

/** Whether a container whose root is not the host's may make cgroups: its spec mounts them to be written to. */
function ownsCgroup({ mounts = [] }: Spec, { idMaps }: ContainerPlan): boolean {
  const cgroups = mounts.filter(({ type }) => type === 'cgroup' || type === 'cgroup2');
  return idMaps !== null && cgroups.length > 0 && cgroups.every(({ options = [] }) => !options.includes('ro'));
}

/** The container's upper, seeded when the request says so. Returns its fd, the caller's to close; undefined without an upper. */
async function makeUpper(
  workshop: Workshop,
  pod: Pod,
  request: ContainerRequest,
  plan: ContainerPlan,
  seeding: Seeding | undefined,
): Promise<number | undefined> {
  const { kernel } = workshop;
  const top = seeding?.layer?.hasRoot ? seeding.layer.path : request.rootfs.layers[0]!;
  const stat = statSync(top);
  const { owner, upper: names } = plan.launch.root;
  const upper = createUpper(kernel, plan.upper, {
    id: request.id,
    owner,
    rootOwner: isPodRoots(stat, owner) ? owner : rootOwner(plan.idMaps, stat, owner),
    rootMode: modeBits(stat),
    userns: plan.idMaps ? pod.userns : undefined,
  });
  const { rootfs } = request;
  const seed = request.checkpoint?.upper ?? request.seed;
  if (seed === undefined) return upper;
  if (upper === undefined) {
    const message = `the seed ${seed} needs an upper, and with overlay2=none the root filesystem ${rootfs.layers[0]} has none; choose another overlay2`;
    throw new SiltError('SEED_REFUSED', message, { path: seed });
  }
  try {
    await seeding?.fill(upper, names!.fs, plan);
    return upper;
  } catch (error) {
    closeSync(upper);
    throw error;
  }
}
