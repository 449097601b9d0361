import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Server as TtrpcServer } from 'ttrpc';
import { sandboxMethods, sandboxServiceName, taskMethods, taskServiceNames } from '../proto';
import { type Config, type Host, parseConfig, readConfig, StateDirectory, type Workshop } from '../sandbox';
import type { Spec } from '../oci';
import { siltRoot } from '../sandbox/state/root';
import type { Kernel } from '../syscall';
import { endWhenAbandoned } from './abandoned';
import type { ShimArguments } from './arguments';
import { askContainerd, CriWishes } from './cri-wishes';
import { type Log, openLog } from './log';
import { PodKeeper } from './pod-keeper';
import { acceptBothProtocols } from './protocols';
import { Publisher } from './publisher';
import { SandboxService } from './sandbox-service';
import { type Service, ttrpcHandlers } from './service-handlers';
import { TaskService } from './task-service';
import { within } from './within';

const EVENTS_AT_END_MS = 2000;
const CALLS_AT_END_MS = 1000;
/** What a Create has made is taken back first, with the hooks that see its end. */
const CREATES_AT_END_MS = 10_000;

/** What all pods of a process use. */
export interface PodServerContext {
  readonly kernel: Kernel;
  readonly host: Host;
}

/** One pod as containerd sees it: a socket of its own with the Task and Sandbox services, its events, its log. */
export class PodServer {
  readonly id: string;
  readonly log: Log;
  /** Settles when nothing is left of the pod, in this process either. */
  readonly ended: Promise<void>;
  readonly #socket: string;
  readonly #listener = createServer();
  readonly #ttrpc: TtrpcServer;
  readonly #shutdownGrpc: ReturnType<typeof acceptBothProtocols>;
  readonly #pod: PodKeeper;
  readonly #publisher: Publisher;
  readonly #tasks: TaskService;
  #settleEnded: () => void = () => undefined;
  #stopping = false;

  /**
   * Serves a pod until its Shutdown, or {@link stop}.
   * @param listenFd the pod's listening socket, this server's from now on
   */
  constructor({ kernel, host }: PodServerContext, args: ShimArguments, listenFd: number) {
    this.id = args.id;
    this.#socket = args.socket;
    const log = openLog(join(args.bundle, 'log'), args.debug ? 'debug' : 'info', {
      runtime: 'io.containerd.silt.v1',
      pod: args.id,
    });
    this.log = log;
    // For each pod anew: the operator may have changed it.
    const { config, fault } = configOrFault();
    const checked = <T>(value: T): T => {
      if (fault) throw fault;
      return value;
    };
    const workshop: Workshop = {
      kernel,
      host,
      config,
      state: new StateDirectory(join(siltRoot(), args.namespace)),
      warn: (message) => log.warn(message),
    };
    this.ended = new Promise((resolve) => {
      this.#settleEnded = resolve;
    });
    this.#publisher = new Publisher({
      namespace: args.namespace,
      ttrpcAddress: process.env['TTRPC_ADDRESS'] ?? '',
      address: args.address,
      publishBinary: args.publishBinary,
      onError: (message) => log.warn(message),
    });
    this.#ttrpc = new TtrpcServer({
      onError: (error) => log.warn('a connection was closed', { error: error.message }),
    });
    this.#pod = new PodKeeper(workshop, args.id, siltRoot(), args.socket);
    // After the answer to the call that asked for it.
    const onShutdown = (): void => void setImmediate(() => this.stop());
    const wishes = new CriWishes(() => askContainerd(args.address, args.namespace, args.id), log);
    this.#tasks = new TaskService({
      workshop,
      wishes,
      pod: this.#pod,
      namespace: args.namespace,
      publisher: this.#publisher,
      log,
      completeSpec: (spec: Spec) => checked(sandbox.complete(spec)),
      onShutdown,
    });
    const sandbox: SandboxService = new SandboxService({
      workshop,
      wishes,
      pod: this.#pod,
      onStart: () => checked(undefined),
      endContainers: () => this.#tasks.killAll(),
      onShutdown,
    });
    const services: Service[] = [
      ...Object.values(taskServiceNames).map((name) => ({ name, methods: taskMethods, implementation: this.#tasks })),
      { name: sandboxServiceName, methods: sandboxMethods, implementation: sandbox },
    ];
    for (const each of services) this.#ttrpc.register(each.name, ttrpcHandlers(each));
    this.#listener.on('error', (error) => log.error('cannot listen', { error: error.message }));
    endWhenAbandoned(this.#listener, {
      isEmpty: () => this.#tasks.forgotten && !sandbox.active,
      wasUsed: () => this.#tasks.wasUsed || sandbox.active,
      end: () => this.stop(),
    });
    this.#shutdownGrpc = acceptBothProtocols(this.#listener, this.#ttrpc, services);
    this.#listener.listen({ fd: listenFd });
  }

  /** Its name is free for another one. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** Ends the pod with all that is in it; {@link ended} tells when that is done. */
  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    // First of all, while the name is still this pod's: a later start of the same id makes a new socket there.
    if (this.#socket !== '') rmSync(this.#socket, { force: true });
    this.#listener.close();
    void this.#end().catch((error: unknown) => {
      this.log.error('cannot end the pod', { error: error instanceof Error ? error.message : String(error) });
    });
  }

  async #end(): Promise<void> {
    try {
      const ended = await this.#tasks.end();
      // What a Create has made is on record until it has been taken back: whoever cleans up after a process that is killed meanwhile needs that.
      await this.#pod.letGo();
      const inTime = await within(CREATES_AT_END_MS, this.#tasks.createsEnded());
      // One that had not come to the pod yet has found none, and started one.
      if (inTime && ended) {
        await this.#pod.end();
      } else {
        await this.#pod.letGo();
        const what = ended ? 'a Create, whose hook does not end' : 'a container, which does not die';
        this.log.warn(`the pod has ended without ${what}; it stays on record until it is cleaned up`, { pod: this.id });
      }
    } finally {
      await this.#publisher.close(EVENTS_AT_END_MS);
      await this.#ttrpc.shutdown({ timeoutMs: CALLS_AT_END_MS });
      await this.#shutdownGrpc(CALLS_AT_END_MS);
      this.log.close();
      this.#settleEnded();
    }
  }
}

/** The configuration; of one that cannot be read the first Create or StartSandbox tells, as nobody hears a server that ends. */
function configOrFault(): { config: Config; fault?: Error } {
  try {
    return { config: readConfig() };
  } catch (error) {
    return { config: parseConfig('', ''), fault: error as Error };
  }
}
