import { closeSync, openSync } from 'node:fs';
import { C, type FailureNames, type Report } from '../../syscall';
import type { ContainerPlan, ContainerRequest } from './plan';
import { traceFirst } from '../cpuid';
import { mountCover } from '../filestore';
import { execFailure, schedulerFailure } from '../exec/exec-failure';
import { namespacesOf } from '../exec/exec-plan';
import type { HookPlace, Hooks } from './hooks';
import { withoutLeftovers } from './leftovers';
import { idmapFailure } from '../mounts/idmap-failure';
import { openOwnNamespaces } from '../pod/namespace-paths';
import type { Pod } from '../pod/pod';
import { Process, pidOf } from '../process/process';
import { launchProgram } from '../programs/launch';
import { START_SOCKET, START_STEP } from '../programs/parking';
import { REPORTS } from '../programs/reports';
import { handOverListener } from '../exec/seccomp-listener';
import { allowedDevices } from './seeding';
import { listenForStart } from '../state/start-socket';
import { awaitReports } from '../process/started';
import type { Workshop } from '../workshop';
import { type Parked, ParkedLauncher } from './parked';
import type { UndoStack } from './undo';

/** A container on its way, once its cgroup and its upper are there. */
export interface Creation {
  readonly workshop: Workshop;
  readonly pod: Pod;
  readonly request: ContainerRequest;
  readonly plan: ContainerPlan;
  readonly hooks: Hooks;
  /** Borrowed; undefined without an upper. */
  readonly upper: number | undefined;
  /** By the names that the launcher's program knows them by; borrowed. */
  readonly mountFds: Readonly<Record<string, number>>;
  /** The slave of the file by which programs ask for checkpoints, if the container has it. */
  readonly checkpointFile: string | undefined;
  readonly undo: UndoStack;
}

export interface FirstProcess {
  readonly init: Process;
  readonly parked: Parked;
  /** Names for the failures of a start that another process asks for. */
  readonly failures: FailureNames | undefined;
}

/** Starts a launcher, which builds the container and waits in it. @throws SiltError; what was begun is on `undo`. */
export async function launchFirst(creation: Creation): Promise<FirstProcess> {
  const { workshop, pod, request, plan, upper, undo, mountFds } = creation;
  const { kernel } = workshop;
  const program = launchProgram(plan.launch);
  const namespaces = openOwnNamespaces(kernel, request.spec);
  const lifetime = request.lifetime ?? 'with-caller';
  const directory = workshop.state.containerPath(pod.id, request.id);
  const socket = lifetime === 'of-its-own' ? listenForStart(kernel, directory) : undefined;
  const cover = plan.launch.root.cover ? mountCover(kernel) : undefined;
  const [startRead, startWrite] = kernel.pipe();
  let init: Process | undefined;
  let mountNamespace: number | undefined;
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
      else if (name === 'mounted') mountNamespace = fds[0]!;
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
          : runHooks(creation, { init: init!, pid: init!.pid }, mountNamespace!),
      abort,
    });
    const failures = lifetime === 'of-its-own' ? program.failuresFrom(START_STEP) : undefined;
    const parked = new ParkedLauncher(started.reports, startWrite);
    return { init: init!, parked, failures };
  } catch (error) {
    closeSync(startWrite);
    const failure = schedulerFailure(execFailure(error, plan.launch.process), request.spec);
    throw idmapFailure(kernel, failure, pod.userns);
  } finally {
    closeSync(startRead);
    for (const fd of [...Object.values(namespaces), socket, cover, mountNamespace]) if (fd !== undefined) closeSync(fd);
  }
}

/** The processes of a checkpoint, held by CRIU where a launcher would be parked. @throws SiltError; what was begun is on `undo`. */
export async function restoreFirst(creation: Creation): Promise<FirstProcess> {
  const { workshop, pod, request, plan, upper, undo, mountFds, checkpointFile } = creation;
  undo.add(() => pod.dropUpper(request.id));
  const cover = plan.launch.root.cover ? mountCover(workshop.kernel) : undefined;
  const slave = checkpointFile === undefined ? undefined : openSync(checkpointFile, C.O_RDWR | C.O_NOCTTY);
  try {
    const { Restored } = await import('../checkpoint');
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
      onQuestion: ({ init, standIn }, mountNamespace, givenUp) =>
        runHooks(creation, { init, pid: standIn }, mountNamespace, givenUp),
    });
    return { init: restored.init, parked: restored, failures: undefined };
  } finally {
    for (const fd of [cover, slave]) if (fd !== undefined) closeSync(fd);
  }
}

/**
 * The hooks before the pivot. Nothing of theirs runs when this is done.
 * @param process the first one, and the pid that hooks outside of the container are given
 * @throws SiltError HOOK_FAILED
 */
function runHooks(
  { workshop: { kernel }, pod, request, plan, hooks }: Creation,
  { init, pid }: { readonly init: Process; readonly pid: number },
  mount: number,
  givenUp?: AbortSignal,
): Promise<void> {
  const place = { id: request.id, cgroup: plan.cgroup.cgroup, mount };
  return withoutLeftovers(kernel, place, () =>
    hooks.create({ init, pid, mount }, hookPlace(pod, request, plan), givenUp),
  );
}

/**
 * Where createContainer hooks run: in the container, as far as it is built, and beside its root filesystem. A user namespace is theirs only where
 * the spec asks for it: the mount namespace belongs to host root until it is locked, and who has entered the pod's user namespace can
 * mount nothing in it.
 */
function hookPlace(pod: Pod, { spec }: ContainerRequest, { launch }: ContainerPlan): HookPlace {
  const asked = spec.linux?.namespaces?.some(({ type }) => type === 'user') ?? false;
  const namespaces = namespacesOf(spec, pod).filter((name) => asked || name !== 'CLONE_NEWUSER');
  return { namespaces, cgroup: launch.cgroup, cwd: launch.root.mountPoint };
}
