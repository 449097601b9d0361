import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createServer, type Server } from 'node:net';
import { Server as TtrpcServer } from 'ttrpc';
import { loadNative, openInterpreter } from '../native';
import { sandboxMethods, sandboxServiceName, taskMethods, taskServiceNames } from '../proto';
import { Host, readConfig, StateDirectory, type Workshop } from '../sandbox';
import { Kernel } from '../syscall';
import type { ShimArguments } from './arguments';
import { openLog } from './log';
import { PodKeeper } from './pod-keeper';
import { Publisher } from './publisher';
import { sweep } from './leftovers';
import { acceptBothProtocols } from './protocols';
import { siltRoot } from '../sandbox/root';
import { SandboxService } from './sandbox-service';
import { type Service, ttrpcHandlers } from './service-handlers';
import { TaskService } from './task-service';

const EVENTS_AT_END_MS = 2000;
/** How long a shim without containers waits for containerd: to connect for the first time, and to come back. */
const FIRST_CONNECTION_MS = 5000;
const ABANDONED_MS = 3000;
/** When a shim first looks for what others have left: after the pod's start, which nothing may slow down. */
const SWEEP_AFTER_MS = 5000;

/**
 * Serves one pod until its Shutdown.
 * @param listenFd a listening unix socket, which the server owns from now on
 */
export function serve(args: ShimArguments, listenFd: number): void {
  const log = openLog(join(args.bundle, 'log'), args.debug ? 'debug' : 'info', {
    runtime: 'io.containerd.silt.v1',
    pod: args.id,
  });
  process.on('uncaughtException', (error) =>
    log.error('uncaught exception', { error: error.message, stack: error.stack }),
  );
  process.on('unhandledRejection', (reason) => log.error('unhandled rejection', { reason: describe(reason) }));
  const native = loadNative();
  const workshop: Workshop = {
    kernel: new Kernel(native, openInterpreter(undefined, native)),
    host: new Host(),
    config: readConfig(),
    state: new StateDirectory(join(siltRoot(), args.namespace)),
    warn: (message) => log.warn(message),
  };
  const publisher = new Publisher({
    namespace: args.namespace,
    ttrpcAddress: process.env['TTRPC_ADDRESS'] ?? '',
    address: args.address,
    publishBinary: args.publishBinary,
    onError: (message) => log.warn(message),
  });
  const server = new TtrpcServer({ onError: (error) => log.warn('a connection was closed', { error: error.message }) });
  const pod = new PodKeeper(workshop, args.id, siltRoot(), args.socket);
  const clearUp = (): Promise<void> =>
    sweep(siltRoot(), workshop.state, workshop.kernel).catch((error: unknown) =>
      log.warn('cannot remove what other shims have left', { error: describe(error) }),
    );
  setTimeout(() => void clearUp(), SWEEP_AFTER_MS).unref();
  const stop = (): void => {
    // First of all, while the name is still this server's: a later start of the same id makes a new socket there.
    if (args.socket !== '') rmSync(args.socket, { force: true });
    void (async () => {
      await service.end();
      await pod.end();
      await publisher.close(EVENTS_AT_END_MS);
      await server.shutdown({ timeoutMs: 1000 });
      await clearUp();
      process.exit(0);
    })();
  };
  const service = new TaskService({
    workshop,
    pod,
    namespace: args.namespace,
    publisher,
    log,
    completeSpec: (spec) => sandbox.withSandboxFiles(spec),
    onShutdown: () => setImmediate(stop),
  });
  const sandbox: SandboxService = new SandboxService({
    workshop,
    pod,
    endContainers: () => service.killAll(),
    onShutdown: () => setImmediate(stop),
  });
  const services: Service[] = [
    ...Object.values(taskServiceNames).map((name) => ({ name, methods: taskMethods, implementation: service })),
    { name: sandboxServiceName, methods: sandboxMethods, implementation: sandbox },
  ];
  for (const each of services) server.register(each.name, ttrpcHandlers(each));
  process.on('SIGTERM', stop);
  process.on('SIGINT', () => undefined);
  const listener = createServer();
  listener.on('error', (error) => log.error('cannot listen', { error: error.message }));
  endWhenAbandoned(listener, () => service.forgotten && !sandbox.active, stop);
  acceptBothProtocols(listener, server, services);
  listener.listen({ fd: listenFd });
}

/**
 * containerd keeps a connection to each of its shims. One that it forgot, because it was killed between `start` and Create, has
 * none and no container: it ends by itself.
 */
function endWhenAbandoned(listener: Server, isIdle: () => boolean, end: () => void): void {
  let connections = 0;
  let timer: NodeJS.Timeout | undefined;
  const arm = (delayMs: number): void => {
    timer = setTimeout(() => {
      if (connections > 0) return;
      if (isIdle()) end();
      else arm(ABANDONED_MS);
    }, delayMs);
    timer.unref();
  };
  listener.on('connection', (socket) => {
    connections++;
    clearTimeout(timer);
    socket.once('close', () => {
      connections--;
      if (connections === 0) arm(ABANDONED_MS);
    });
  });
  arm(FIRST_CONNECTION_MS);
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
