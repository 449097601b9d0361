import { closeSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SiltError } from '../errors';
import { loadNative, openInterpreter } from '../native';
import { Host, readConfig, StateDirectory } from '../sandbox';
import { siltRoot } from '../sandbox/state/root';
import { Kernel } from '../syscall';
import { parseArguments, type ShimArguments } from './arguments';
import { sweep } from './leftovers';
import { type GivenPod, PodIntake } from './pod-intake';
import { PodServer } from './pod-server';
import { listenIfFree, listens, lockSockets } from './sockets';

/** How long after its start, or the end of a pod, a server looks for what others have left: nothing may slow a start down. */
const SWEEP_AFTER_MS = 5000;
/** How often a server that was full and has room looks whether the name is free under which pods come. */
const REOPEN_MS = 2000;

/**
 * Serves the pods of one containerd namespace, until there has been none for a while. All that they share is this process: each
 * has its socket, its connections and its log, and is given to a server once.
 *
 * A process for each pod would be a start of Node for each, and the memory of one. What the pods of a process share is its
 * end: `pods-per-shim` of the configuration says how many those may be.
 */
class Server {
  readonly #kernel: Kernel;
  readonly #host = new Host();
  readonly #pods = new Set<PodServer>();
  readonly #limits = limits();
  #intake: PodIntake | undefined;
  #lingering: NodeJS.Timeout | undefined;
  #stopping = false;
  #nextSweep: NodeJS.Timeout | undefined;
  #reopening: NodeJS.Timeout | undefined;

  constructor(
    private readonly args: ShimArguments,
    intakeFd: number,
  ) {
    const native = loadNative();
    this.#kernel = new Kernel(native, openInterpreter(undefined, native));
    this.#intake = new PodIntake(this.#kernel, args.server, intakeFd, (pod) => this.#take(pod));
    this.#sweepIn(SWEEP_AFTER_MS);
  }

  /** @throws SiltError when the pod cannot be served; its socket is the caller's then. CONTAINER_EXISTS for one that is served already. */
  open(args: ShimArguments, listenFd: number): void {
    if ([...this.#pods].some(({ id, stopping }) => id === args.id && !stopping)) {
      const message = `cannot start ${args.id}: process ${process.pid} serves a pod of this id already, whose socket somebody has removed; end that process, or start the pod under another id`;
      throw new SiltError('CONTAINER_EXISTS', message, { id: args.id });
    }
    clearTimeout(this.#lingering);
    const pod = new PodServer({ kernel: this.#kernel, host: this.#host }, args, listenFd);
    this.#pods.add(pod);
    void pod.ended.then(() => this.#ended(pod));
    if (this.#pods.size >= this.#limits.pods) this.#closeIntake();
  }

  #take({ words, listenFd }: GivenPod): boolean {
    this.open(parseArguments([...words, 'serve']), listenFd);
    return true;
  }

  #ended(pod: PodServer): void {
    this.#pods.delete(pod);
    this.#openIntake();
    this.#endWhenIdle();
    this.#sweepIn(SWEEP_AFTER_MS);
  }

  /** Ends the process unless a pod comes soon. Where nobody can bring one there is nothing to wait for. */
  #endWhenIdle(leastMs = 0): void {
    clearTimeout(this.#lingering);
    if (this.#pods.size > 0) return;
    const lingerMs = Math.max(leastMs, this.#intake ? this.#limits.lingerMs : 0);
    this.#lingering = setTimeout(() => void this.#end(), lingerMs);
  }

  async #end(): Promise<void> {
    const again = await this.#sweep();
    if (this.#pods.size > 0) return;
    // What a killed process has left can only be removed after a while, and nobody may come to do it.
    if (again !== undefined && !this.#stopping) {
      this.#endWhenIdle(again);
      return;
    }
    this.#closeIntake();
    // One that was on its way when the socket was closed.
    if (this.#pods.size === 0) process.exit(0);
  }

  /** Lets the next pods go to another server: this one has as many as it may have, or is about to end. */
  #closeIntake(): void {
    if (!this.#intake) return;
    const lock = lockSockets(this.#kernel, dirname(this.args.server), true);
    try {
      this.#intake.close();
      // The name may have become another server's while this one stood still.
      if (!listens(this.#kernel, this.args.server)) rmSync(this.args.server, { force: true });
    } finally {
      this.#intake = undefined;
      closeSync(lock);
    }
  }

  /**
   * Takes pods again after this server was full, as soon as no other one takes them: there is one name for all. Not without a pod: who
   * has had as many as it may and none any more ends, which is what `pods-per-shim = 1` means.
   */
  #openIntake(): void {
    clearTimeout(this.#reopening);
    if (this.#intake || this.#stopping || this.#pods.size === 0 || this.#pods.size >= this.#limits.pods) return;
    const fd = listenIfFree(this.#kernel, this.args.server);
    if (fd !== undefined) {
      this.#intake = new PodIntake(this.#kernel, this.args.server, fd, (pod) => this.#take(pod));
      return;
    }
    this.#reopening = setTimeout(() => this.#openIntake(), REOPEN_MS);
    this.#reopening.unref();
  }

  /** Ends all pods, and the process. */
  stopAll(): void {
    this.#stopping = true;
    this.#closeIntake();
    for (const pod of this.#pods) pod.stop();
    this.#endWhenIdle();
  }

  logError(message: string, fields: object): void {
    for (const { log } of this.#pods) log.error(message, fields);
  }

  #sweepIn(ms: number): void {
    if (this.#nextSweep) return;
    this.#nextSweep = setTimeout(() => void this.#sweep(), ms);
    this.#nextSweep.unref();
  }

  async #sweep(): Promise<number | undefined> {
    clearTimeout(this.#nextSweep);
    this.#nextSweep = undefined;
    const state = new StateDirectory(join(siltRoot(), this.args.namespace));
    const own = new Set([...this.#pods].map(({ id }) => id));
    try {
      const again = await sweep(siltRoot(), state, this.#kernel, (id) => own.has(id));
      if (again !== undefined) this.#sweepIn(again);
      return again;
    } catch (error) {
      const [pod] = this.#pods;
      pod?.log.warn('cannot remove what other shims have left', { error: describe(error) });
      return undefined;
    }
  }
}

function limits(): { pods: number; lingerMs: number } {
  try {
    const { podsPerShim, shimLingerSeconds } = readConfig();
    return { pods: podsPerShim, lingerMs: shimLingerSeconds * 1000 };
  } catch {
    // The first pod reads it too, and says what is wrong with it.
    return { pods: 1, lingerMs: 0 };
  }
}

/**
 * @param args with the first pod
 * @param podFd its listening socket
 * @param intakeFd the server's own
 */
export function serve(args: ShimArguments, podFd: number, intakeFd: number): void {
  // A bundle, where containerd starts shims, must not be held by whom it has nothing to do with any more.
  process.chdir('/');
  const server = new Server(args, intakeFd);
  process.on('uncaughtException', (error) =>
    server.logError('uncaught exception', { error: error.message, stack: error.stack }),
  );
  process.on('unhandledRejection', (reason) => server.logError('unhandled rejection', { reason: describe(reason) }));
  process.on('SIGTERM', () => server.stopAll());
  process.on('SIGINT', () => undefined);
  server.open(args, podFd);
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
