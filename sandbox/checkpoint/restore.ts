/** Brings a container's processes back, in a new container. */
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { CriuRequestType } from '../../proto/criu';
import { C, type Kernel } from '../../syscall';
import type { Pod } from '../pod';
import type { Process } from '../process';
import type { CriuCommand } from '../programs/criu';
import type { Workshop } from '../workshop';
import { findCriu, requireVersion } from './criu';
import type { RestoreRequest } from './restore-request';
import { type Prepared, prepareMounts } from './restored-mounts';
import { buildRestoredRoot, uncoverRestoredRoot } from './restored-root';
import { criuOptions, inheritedFiles, startRestorer } from './restorer';
import type { CriuSession } from './session';

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
    const running = await startRestorer(kernel, pod, request, criu, inherited, theirs);
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
            if (request.plan.userns) await uncoverRestoredRoot(kernel, init!);
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
