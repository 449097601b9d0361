/** Brings a container's processes back, in a new container. */
import { closeSync, openSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { COVER, type FilesystemStep, makeFilesystem, openTerminal, type RootPlan, UPPER, USERNS } from '../../gofer';
import { CriuRequestType } from '../../proto/criu';
import { C, type Kernel, ProgramBuilder, type Report, type Started } from '../../syscall';
import type { Pod } from '../pod';
import { type Lifetime, Process, pidOf } from '../process';
import {
  CRIU_FDS,
  CRIU_PATHS,
  type CriuCommand,
  FIRST_INHERITED_FD,
  restoreProgram,
  restoreRootProgram,
  uncoverProgram,
} from '../programs/criu';
import { type LaunchPlan, LAUNCH_FDS } from '../programs/launch';
import { openSeed, seedUpper } from '../seed';
import { awaitReports } from '../started';
import type { AllowedDevice } from '../unpacker';
import type { Workshop } from '../workshop';
import { findCriu, requireVersion } from './criu';
import { type InheritedFile, openDeleted } from './deleted';
import { CGROUPS_IGNORED } from './dump';
import type { CheckpointImage } from './image';
import { inheritKey } from './normalise';
import { namespacePids } from './outside';
import { CriuSession, makeCriuRun, openCriuLog, unusable } from './session';

export interface RestoreRequest {
  readonly id: string;
  readonly plan: LaunchPlan;
  readonly image: CheckpointImage;
  /** Fds by the names in STDIO; none with a terminal. Borrowed. */
  readonly stdio: Readonly<Record<string, number>>;
  /** The container's upper, filled. Borrowed. */
  readonly upper: number;
  /** What hides the filestore from the container, if that lies in its own root filesystem. Borrowed. */
  readonly cover: number | undefined;
  /** What else mounts of the root filesystem need, by the names of its plan; borrowed. */
  readonly mountFds: Readonly<Record<string, number>>;
  readonly devices: readonly AllowedDevice[];
  readonly onTerminal: (master: number) => void;
  readonly lifetime: Lifetime;
  /** Where CRIU's log is put when it fails. */
  readonly workPath: string;
  /** Called when the root is complete and the gofer waits; see LaunchPlan's hooks. */
  readonly onQuestion: (init: Process) => Promise<void>;
}

/** Mounts that are made and filled before the gofer attaches them. */
interface Prepared {
  readonly root: RootPlan;
  /** Fds by the names that the plan gives them. */
  readonly fds: Readonly<Record<string, number>>;
  /** The terminal's slave, which CRIU is given. */
  readonly slave: number | undefined;
  /** The terminal's master, until somebody takes it. */
  readonly master: number | undefined;
  /** Files without a name, opened. */
  readonly deleted: readonly InheritedFile[];
}

/**
 * A container's processes, all there and standing still: CRIU holds them until {@link start}. Like a parked launcher, the first
 * one can be killed meanwhile.
 */
export class Restored {
  #ended = false;

  private constructor(
    private readonly kernel: Kernel,
    readonly init: Process,
    private readonly session: CriuSession,
    private readonly done: Promise<void>,
    private readonly gate: { readonly open: () => void; readonly refuse: (error: Error) => void },
    private readonly request: RestoreRequest,
    private readonly release: () => Promise<void>,
  ) {}

  /** @throws SiltError CHECKPOINT_FAILED, CRIU_UNUSABLE, …; no process is left then. */
  static async prepare(workshop: Workshop, pod: Pod, request: RestoreRequest): Promise<Restored> {
    const { kernel, config } = workshop;
    if (request.plan.pid !== 'container') {
      const message = 'restoring into a pid namespace that is not the container’s own is not built yet';
      throw new SiltError('UNIMPLEMENTED', message);
    }
    if (request.plan.process.traced) {
      const message = 'restoring with the annotation dev.gvisor.internal.cpufeatures is not built yet';
      throw new SiltError('UNIMPLEMENTED', message);
    }
    const criu = findCriu(config);
    await requireVersion(kernel, criu);
    const prepared = await prepareMounts(workshop, pod, request);
    try {
      return await Restored.#start(kernel, pod, request, criu, prepared);
    } finally {
      for (const fd of [...Object.values(prepared.fds), prepared.slave, ...prepared.deleted.map(({ fd }) => fd)])
        if (fd !== undefined) closeSync(fd);
    }
  }

  static async #start(
    kernel: Kernel,
    pod: Pod,
    request: RestoreRequest,
    criu: CriuCommand,
    prepared: Prepared,
  ): Promise<Restored> {
    const inherited = inheritedFiles(request, prepared);
    const [handover, theirs] = kernel.socketPair();
    const running = await startCriu(kernel, pod, request, criu, inherited, theirs);
    const { session, holder, started } = running;
    let init: Process | undefined;
    const gate = makeGate();
    const release = async (): Promise<void> => {
      closeSync(handover);
      await session.end();
      await holder.exited;
      started.reports.close();
    };
    const reached = new Promise<void>((resolve, reject) => {
      const done = session.request(
        CriuRequestType.RESTORE,
        criuOptions(request, holder, inherited),
        async (script, pid) => {
          if (script === 'setup-namespaces') {
            await buildRestoredRoot(kernel, pod, request, prepared, { pid, handover, started }, (process) => {
              init = process;
            });
          } else if (script === 'post-restore') {
            if (request.plan.userns) await runProgram(kernel, uncoverProgram(), { [CRIU_FDS.init]: init!.fd });
            await request.image.memoryVerified;
            resolve();
            await gate.opened;
          }
        },
      );
      gate.done = done.then(() => undefined);
      gate.done.catch(reject);
    });
    try {
      await reached;
    } catch (error) {
      const explained = session.keepLog(logPath(request), error);
      if (init && !init.exit) kernel.signal(init.fd, C.SIGKILL);
      await release();
      await init?.exited;
      // Unreaped it would keep the sandbox, process 1 above it, from ending.
      if (init && request.lifetime === 'of-its-own') kernel.reapGroup(init.pid, false);
      if (prepared.master !== undefined) closeSync(prepared.master);
      throw explained;
    }
    if (prepared.master !== undefined) request.onTerminal(prepared.master);
    return new Restored(kernel, init!, session, gate.done!, gate, request, release);
  }

  /** Lets the processes go on. @throws SiltError CHECKPOINT_FAILED; they have been killed then. */
  async start(): Promise<void> {
    this.#ended = true;
    this.gate.open();
    try {
      await this.done;
    } catch (error) {
      if (!this.init.exit) this.kernel.signal(this.init.fd, C.SIGKILL);
      throw this.session.keepLog(logPath(this.request), error);
    } finally {
      await this.release();
    }
  }

  /** The first process has been killed, or is to be: nothing is started any more. */
  async abandon(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.gate.refuse(new SiltError('CHECKPOINT_FAILED', 'the container was removed before it was started'));
    this.session.kill();
    await this.done.catch(() => undefined);
    await this.release();
  }
}

function logPath({ workPath, id }: RestoreRequest): string {
  return join(workPath, `${id}.criu-restore.log`);
}

interface Gate {
  readonly opened: Promise<void>;
  open: () => void;
  refuse: (error: Error) => void;
  done?: Promise<void>;
}

function makeGate(): Gate {
  let open!: () => void;
  let refuse!: (error: Error) => void;
  const opened = new Promise<void>((resolve, reject) => {
    open = resolve;
    refuse = reject;
  });
  opened.catch(() => undefined);
  return { opened, open, refuse };
}

/** What CRIU is given in place of the files that the processes had from outside. */
function inheritedFiles({ image, stdio }: RestoreRequest, prepared: Prepared): InheritedFile[] {
  const { manifest } = image;
  const files = manifest.stdio.flatMap((name): InheritedFile[] => {
    const fd = stdio[name];
    return fd === undefined ? [] : [{ key: inheritKey(name), fd }];
  });
  if (manifest.terminal !== undefined && prepared.slave !== undefined)
    files.push({ key: manifest.terminal, fd: prepared.slave });
  files.push(...prepared.deleted);
  return files;
}

function criuOptions({ plan, image }: RestoreRequest, holder: Process, inherited: readonly InheritedFile[]): object {
  const { options } = image.manifest;
  return {
    imagesDir: `${CRIU_PATHS.run}/${IMAGES_LINK}`,
    rstSibling: true,
    manageCgroupsMode: CGROUPS_IGNORED,
    tcpEstablished: options.tcpEstablished,
    extUnixSk: options.externalUnixSockets,
    fileLocks: true,
    linkRemap: true,
    // A user namespace's root is host root no more, and CRIU asks before it assumes what it may.
    unprivileged: plan.userns,
    joinNs: [{ ns: 'mnt', nsFile: `${namespacePids(holder.pid).at(-1)}` }],
    inheritFd: inherited.map(({ key }, i) => ({ key, fd: FIRST_INHERITED_FD + i })),
  };
}

/** CRIU 4.1 wants the image directory to be a symlink, as it is in /proc. */
const IMAGES_LINK = 'images';

async function startCriu(
  kernel: Kernel,
  pod: Pod,
  request: RestoreRequest,
  criu: CriuCommand,
  inherited: readonly InheritedFile[],
  handover: number,
): Promise<{ session: CriuSession; holder: Process; started: Started }> {
  const { plan, image } = request;
  const [mine, rpc] = kernel.socketPair();
  const run = makeCriuRun(kernel, plan.root.owner);
  const log = openCriuLog(run);
  symlinkSync(CRIU_PATHS.images, `/proc/self/fd/${run}/${IMAGES_LINK}`);
  const names = inherited.map((_, i) => `inherited-${i}`);
  const processes: Partial<Record<string, Process>> = {};
  const onReport = ({ name, fds }: Report): boolean => {
    if (name !== 'criu' && name !== 'holder') return false;
    processes[name] = new Process(kernel, pidOf(fds[0]!), fds[0]!);
    return true;
  };
  const abort = (): void => {
    for (const process of Object.values(processes)) if (process && !process.exit) kernel.signal(process.fd, C.SIGKILL);
  };
  try {
    const started = kernel.start(restoreProgram(plan, criu, image.process, names), {
      [LAUNCH_FDS.sandbox]: pod.sandbox.fd,
      [CRIU_FDS.rpc]: rpc,
      [CRIU_FDS.run]: run,
      [CRIU_FDS.log]: log,
      [CRIU_FDS.handover]: handover,
      ...Object.fromEntries(inherited.map(({ fd }, i) => [names[i]!, fd])),
    });
    await awaitReports(kernel, started, ['holder', 'criu'], { what: 'starting CRIU', onReport, abort });
    const session = new CriuSession(kernel, processes['criu']!, mine, run);
    return { session, holder: processes['holder']!, started };
  } catch (error) {
    closeSync(mine);
    for (const process of Object.values(processes)) await process?.exited;
    closeSync(run);
    throw unusable(criu, error);
  } finally {
    for (const fd of [rpc, log, handover]) closeSync(fd);
  }
}

/** The gofer's part, in the middle of CRIU's work: the first process is there and waits for its root. */
async function buildRestoredRoot(
  kernel: Kernel,
  pod: Pod,
  request: RestoreRequest,
  { root, fds }: Prepared,
  criu: { readonly pid: number; readonly handover: number; readonly started: Started },
  onInit: (init: Process) => void,
): Promise<void> {
  const donations: Record<string, number> = {
    ...request.mountFds,
    ...fds,
    [LAUNCH_FDS.sandbox]: pod.sandbox.fd,
    [UPPER]: request.upper,
    [CRIU_FDS.handover]: criu.handover,
  };
  if (pod.userns !== undefined) donations[USERNS] = pod.userns;
  if (request.cover !== undefined) donations[COVER] = request.cover;
  let init: Process | undefined;
  const started = kernel.start(restoreRootProgram({ ...request.plan, root }, criu.pid), donations);
  await awaitReports(kernel, started, ['process', 'built'], {
    what: 'building the root filesystem',
    onReport: ({ name, fds: received }) => {
      if (name !== 'process') return false;
      init = new Process(kernel, pidOf(received[0]!), received[0]!, request.lifetime);
      onInit(init);
      return true;
    },
    onQuestion: () => request.onQuestion(init!),
  });
  started.reports.close();
  const held = await criu.started.reports.next();
  if (held?.name !== 'held') throw new SiltError('INTERNAL', 'the holder of the mount namespace is gone');
}

/** Makes the tmpfs mounts that the checkpoint has contents of, and the devpts of a terminal. */
async function prepareMounts(workshop: Workshop, pod: Pod, request: RestoreRequest): Promise<Prepared> {
  const { kernel } = workshop;
  const { root } = request.plan;
  const { image } = request;
  const fds: Record<string, number> = {};
  const make = (step: FilesystemStep): FilesystemStep => {
    const p = new ProgramBuilder();
    p.step(`making the ${step.type} of ${step.destination}`);
    const slot = makeFilesystem(p, step);
    const given = `mount ${step.destination}`;
    fds[given] = kernel.run(p.build()).get(slot);
    return { ...step, given };
  };
  const saved = new Map(image.manifest.filesystems.map(({ destination, file }) => [destination, file]));
  let slave: number | undefined;
  let master: number | undefined;
  try {
    const mounts = [];
    for (const step of root.mounts) {
      if (step.kind !== 'filesystem') {
        mounts.push(step);
        continue;
      }
      const isPts = step.type === 'devpts' && step.destination === '/dev/pts' && root.terminal !== undefined;
      const file = step.type === 'tmpfs' ? saved.get(step.destination) : undefined;
      if (!isPts && file === undefined) {
        mounts.push(step);
        continue;
      }
      const made = make(step);
      mounts.push(made);
      const fd = fds[made.given!]!;
      if (file !== undefined) {
        const { idMaps } = pod;
        const { cgroupFiles } = request.plan;
        const archive = openSeed(join(image.directory, file));
        try {
          const { devices } = request;
          await seedUpper(workshop, { archive, upper: fd, directory: '.', idMaps, cgroupFiles, devices });
        } finally {
          closeSync(archive);
        }
      } else {
        const p = new ProgramBuilder();
        p.step('opening a terminal in the container’s devpts');
        const slot = openTerminal(p, fd, '', root.terminal!);
        master = kernel.run(p.build()).get(slot);
        slave = openSync(`/proc/self/fd/${fd}/0`, C.O_RDWR | C.O_NOCTTY);
      }
    }
    const deleted = await openDeleted(workshop, pod, request);
    const terminal = slave === undefined ? {} : { terminalGiven: true };
    return { root: { ...root, mounts, ...terminal }, fds, slave, master, deleted };
  } catch (error) {
    for (const fd of [...Object.values(fds), slave, master]) if (fd !== undefined) closeSync(fd);
    throw error;
  }
}

/** Runs a program that reports nothing. */
async function runProgram(
  kernel: Kernel,
  program: ReturnType<typeof uncoverProgram>,
  donations: Readonly<Record<string, number>>,
): Promise<void> {
  const started = kernel.start(program, donations);
  try {
    await started.reports.next();
  } finally {
    started.reports.close();
    kernel.reapGroup(started.pid, true);
    closeSync(started.pidfd);
  }
}
