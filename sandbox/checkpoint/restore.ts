/** Brings a container's processes back, in a new container. */
import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { CriuRequestType } from '../../proto/criu';
import { C } from '../../syscall';
import type { Pod } from '../pod/pod';
import type { StartedPager } from '../pager';
import type { Process } from '../process/process';
import type { CriuCommand } from '../programs/criu';
import { warningsOf, type Workshop } from '../workshop';
import { findCriu, requireVersion } from '../criu/criu';
import { keepFailure, keepLog, type LogSubject } from '../criu/kept-log';
import { type LazyMemory, lazyMemory } from './lazy';
import type { RestoreRequest } from './restore-request';
import { type Prepared, prepareMounts } from './restored-mounts';
import { RootBuilder, uncoverRestoredRoot } from './restored-root';
import { criuOptions, inheritedFiles, startRestorer } from './restorer';
import type { CriuSession } from '../criu/session';
import { freezeRestored, type FrozenRestore } from './standstill';

/**
 * A container's processes, all there and standing still: CRIU holds them until {@link start}. Like a parked launcher, the first
 * one can be killed meanwhile.
 */
export class Restored {
  #ended = false;

  private constructor(
    private readonly workshop: Workshop,
    readonly init: Process,
    private readonly session: CriuSession,
    private readonly done: Promise<void>,
    private readonly gate: Gate,
    private readonly request: RestoreRequest,
    private readonly holder: Process,
    private readonly release: () => Promise<void>,
    /** Brings its memory; none when all of it is there. */
    readonly pager: StartedPager | undefined,
  ) {}

  /** @throws SiltError CHECKPOINT_FAILED, CRIU_UNUSABLE, …; no process is left then. */
  static async prepare(workshop: Workshop, pod: Pod, request: RestoreRequest): Promise<Restored> {
    const { config } = workshop;
    if (request.plan.pid !== 'container') {
      const message = 'restoring into a pid namespace that is not the container’s own is not built yet';
      throw new SiltError('UNIMPLEMENTED', message);
    }
    if (request.plan.own.mount !== 'new') {
      const message = 'restoring into a mount namespace that is not the container’s own is not built yet';
      throw new SiltError('UNIMPLEMENTED', message);
    }
    const criu = findCriu(config);
    const prepared = await prepareMounts(workshop, pod, request);
    let lazy: LazyMemory | undefined;
    try {
      lazy = await lazyMemory(workshop, criu, request);
      return await Restored.#start(workshop, pod, request, criu, prepared, lazy);
    } catch (error) {
      // Nobody has taken it.
      if (prepared.master !== undefined) closeSync(prepared.master);
      throw error;
    } finally {
      const deleted = prepared.deleted.map(({ fd }) => fd);
      for (const fd of [...Object.values(prepared.fds), ...prepared.slaves, ...deleted, lazy?.device])
        if (fd !== undefined) closeSync(fd);
    }
  }

  static async #start(
    workshop: Workshop,
    pod: Pod,
    request: RestoreRequest,
    criu: CriuCommand,
    prepared: Prepared,
    lazy: LazyMemory | undefined,
  ): Promise<Restored> {
    const { kernel } = workshop;
    const inherited = inheritedFiles(request, prepared);
    const [handover, theirs] = kernel.socketPair();
    const running = await startRestorer(kernel, pod, request, criu, inherited, theirs, lazy).catch((error: unknown) => {
      closeSync(handover);
      throw error;
    });
    const { session, holder, started, pager } = running;
    let init: Process | undefined;
    let builder: RootBuilder | undefined;
    const gate = makeGate();
    const release = async (): Promise<void> => {
      const abandoned = builder?.abandon();
      closeSync(handover);
      await abandoned;
      await session.end();
      // Nothing that CRIU has asked for is still being done.
      await gate.done?.catch(() => undefined);
      await holder.exited;
      started.reports.close();
    };
    try {
      // CRIU is being loaded: what takes its time can be done meanwhile.
      builder = RootBuilder.start(kernel, pod, request, prepared, handover);
      await requireVersion(session, criu);
    } catch (error) {
      await release();
      await pager?.end();
      throw error;
    }
    const reached = new Promise<void>((resolve, reject) => {
      const done = session.request(
        CriuRequestType.RESTORE,
        criuOptions(request, holder, inherited, pager !== undefined),
        async (script, pid) => {
          if (script === 'setup-namespaces') {
            await builder.build(pid, started, (process) => {
              init = process;
            });
          } else if (script === 'post-restore') {
            if (request.plan.userns) await uncoverRestoredRoot(kernel, init!);
            await request.image.verifyMemory(pager ? 'not-lazy' : 'all');
            pager?.protect(init!);
            if (request.image.manifest.options.tcpEstablished) await unlock(workshop, init!);
            resolve();
            await gate.opened;
          } else if (script === 'pre-resume') {
            // Each stands still in the middle of what CRIU had it do last.
            await gate.beforeRun?.();
          }
        },
      );
      gate.done = done.then(() => undefined);
      gate.done.catch(reject);
      pager?.complete.catch(reject);
    });
    try {
      await reached;
    } catch (error) {
      const explained = keepFailure(session.log, logSubject(request), error);
      const kill = (): void => {
        if (init && !init.exit) kernel.signal(init.fd, C.SIGKILL);
      };
      kill();
      await release();
      await pager?.end();
      // It may have become known only meanwhile.
      kill();
      await init?.exited;
      // CRIU may have made it all the same, in its own process group, and nobody knows it.
      if (!init) kernel.endGroup(session.pid);
      // Unreaped it would keep the sandbox, process 1 above it, from ending; it may not lead a process group yet.
      if (init && request.lifetime === 'of-its-own') kernel.reapChild(init.pid);
      throw explained;
    }
    if (prepared.master !== undefined) request.onTerminal(prepared.master);
    return new Restored(workshop, init!, session, gate.done!, gate, request, holder, release, pager);
  }

  /** Lets the processes go on. @throws SiltError CHECKPOINT_FAILED, SYSCALL_FAILED; they have been killed then. */
  async start(): Promise<void> {
    const { cpu, cgroup, stateDirectory: directory, lifetime } = this.request;
    this.#ended = true;
    let frozen: FrozenRestore | undefined;
    if (cpu !== undefined) {
      this.gate.beforeRun = async () => {
        const helpers = [this.session.pid, this.holder.pid];
        frozen = await freezeRestored(this.workshop, { cgroup, directory, helpers });
      };
    }
    try {
      this.gate.open();
      await this.done;
      if (cpu !== undefined) await frozen!.trace(cpu, lifetime);
      keepLog(this.session.log, logSubject(this.request));
    } catch (error) {
      if (!this.init.exit) this.workshop.kernel.signal(this.init.fd, C.SIGKILL);
      throw keepFailure(this.session.log, logSubject(this.request), error);
    } finally {
      await frozen?.thaw();
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

function logSubject({ workPath, id }: RestoreRequest): LogSubject {
  return { id, what: 'restore', workPath: workPath === undefined ? undefined : { path: workPath } };
}

interface Gate {
  readonly opened: Promise<void>;
  open: () => void;
  refuse: (error: Error) => void;
  done?: Promise<void>;
  /** When it has been opened, CRIU asks this before any process runs. */
  beforeRun?: () => Promise<void>;
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

/** CRIU's root has no iptables, nor CRIU the rights where the network namespace was made outside of the user namespace. */
async function unlock(workshop: Workshop, { pid }: Process): Promise<void> {
  const { unlockConnections } = await import('./connection-lock');
  await unlockConnections(pid, warningsOf(workshop));
}
