/** The server: services, listeners, and shutting down. */
import { createServer } from 'node:net';
import type { Server as NetServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { MethodHandler } from './method';
import { ServerConnection } from './server-connection';
import type { ServerConnectionHost } from './server-connection';
import { TtrpcError } from './status';
import { DEFAULT_STALL_TIMEOUT_MS, MAX_TIMER_MS } from './stream';

/** How long {@link Server.shutdown} waits for running calls unless told otherwise, in milliseconds. */
export const DEFAULT_SHUTDOWN_TIMEOUT_MS = 10_000;

export interface ServerOptions {
  /**
   * Told of faults that no caller hears of: a connection closed for a protocol error, a failed accept. For logs; must
   * not throw. A peer that merely goes away is no fault.
   */
  readonly onError?: (error: TtrpcError) => void;
  /**
   * Milliseconds that a handler may leave a full stream of requests unread, which stops its whole connection, before
   * the call fails with `STREAM_FULL`. Default 1000; Infinity: as long as it takes.
   */
  readonly stallTimeoutMs?: number;
}

export interface ShutdownOptions {
  /** Milliseconds to wait for running handlers. Default 10000; Infinity: as long as it takes. */
  readonly timeoutMs?: number;
}

/** Serves any number of listeners and connections with one set of services. */
export class Server {
  private readonly services = new Map<string, Map<string, MethodHandler>>();
  private readonly listeners = new Set<NetServer>();
  private readonly connections = new Set<ServerConnection>();
  private readonly host: ServerConnectionHost;
  private runningHandlers = 0;
  private stopped = false;
  /** Woken when a handler or a socket has ended. */
  private readonly waiters: (() => void)[] = [];

  constructor(private readonly options: ServerOptions = {}) {
    this.host = {
      stallTimeoutMs: options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS,
      findHandler: (service, method) => this.findHandler(service, method),
      onHandlerStart: () => {
        this.runningHandlers++;
      },
      onHandlerEnd: () => {
        this.runningHandlers--;
        this.wakeWaiters();
      },
      onClose: (_connection, error) => {
        if (error.code !== 'CONNECTION_CLOSED') this.options.onError?.(error);
      },
      onSocketClosed: (connection) => {
        this.connections.delete(connection);
        this.wakeWaiters();
      },
    };
  }

  /**
   * Adds a service, by its full name, with handlers made by `unary`, `serverStream`, `clientStream` or `bidiStream`.
   *
   * Takes effect at once, also on open connections. Throws `ALREADY_EXISTS` if the service is registered.
   */
  register(service: string, methods: Readonly<Record<string, MethodHandler>>): void {
    if (this.services.has(service)) {
      throw new TtrpcError('ALREADY_EXISTS', `service ${service} is registered already`);
    }
    this.services.set(service, new Map(Object.entries(methods)));
  }

  /**
   * Serves what is given: a `net.Server` (listening or about to), the number of a listening socket's file descriptor, or
   * one connected stream. It belongs to this server from then on: shutting down closes it.
   *
   * Resolves when connections are accepted. Rejects with the error of a listener that cannot listen, and with
   * `UNAVAILABLE` after a shutdown, when the listener or stream is left alone.
   */
  async serve(target: NetServer | number | Duplex): Promise<void> {
    if (this.stopped) throw new TtrpcError('UNAVAILABLE', 'the server was shut down');
    if (typeof target === 'number') {
      const listener = createServer();
      const listening = this.serveListener(listener);
      listener.listen({ fd: target });
      await listening;
    } else if ('listen' in target) {
      await this.serveListener(target);
    } else {
      this.connections.add(new ServerConnection(target, this.host));
    }
  }

  /**
   * Stops listening, lets running calls finish while new ones get `UNAVAILABLE`, closes each connection when it is idle,
   * and after the time limit cancels what is left. A unix socket is removed if its `net.Server` made it.
   *
   * Resolves when all sockets are closed: true if every handler ended by itself, false if the limit was reached.
   */
  async shutdown(options: ShutdownOptions = {}): Promise<boolean> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_SHUTDOWN_TIMEOUT_MS;
    this.stopListening();
    for (const connection of this.connections) connection.drain();
    let expired = false;
    const expire = (): void => {
      expired = true;
      this.wakeWaiters();
    };
    const timer = timeoutMs > MAX_TIMER_MS ? undefined : setTimeout(expire, timeoutMs);
    await this.waitUntil(() => expired || this.isIdle());
    clearTimeout(timer);
    const isComplete = this.isIdle();
    if (!isComplete) await this.close();
    return isComplete;
  }

  /**
   * Stops listening and closes every connection at once. Running handlers see their signal abort.
   *
   * Resolves when the sockets are closed, which does not wait for handlers.
   */
  async close(): Promise<void> {
    this.stopListening();
    const error = new TtrpcError('CONNECTION_CLOSED', 'the server was closed');
    for (const connection of this.connections) connection.close(error);
    await this.waitUntil(() => this.connections.size === 0);
  }

  private async serveListener(listener: NetServer): Promise<void> {
    this.listeners.add(listener);
    listener.on('connection', (socket: Socket) => {
      if (this.stopped) socket.destroy();
      else this.connections.add(new ServerConnection(socket, this.host));
    });
    listener.on('close', () => this.listeners.delete(listener));
    await whenListening(listener);
    listener.on('error', (error) => {
      this.options.onError?.(new TtrpcError('CONNECTION_FAILED', `accept failed: ${error.message}`, { cause: error }));
    });
  }

  private findHandler(service: string, method: string): MethodHandler {
    const methods = this.services.get(service);
    if (methods === undefined) throw new TtrpcError('UNIMPLEMENTED', `service ${service}`);
    const handler = methods.get(method);
    if (handler === undefined) throw new TtrpcError('UNIMPLEMENTED', `method ${method} of service ${service}`);
    return handler;
  }

  private stopListening(): void {
    this.stopped = true;
    for (const listener of this.listeners) listener.close();
    this.listeners.clear();
  }

  private isIdle(): boolean {
    return this.connections.size === 0 && this.runningHandlers === 0;
  }

  private async waitUntil(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.waiters.push(resolve));
  }

  private wakeWaiters(): void {
    for (const wake of this.waiters.splice(0)) wake();
  }
}

function whenListening(listener: NetServer): Promise<void> {
  if (listener.listening) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      listener.off('listening', onListening);
      reject(error);
    };
    const onListening = (): void => {
      listener.off('error', onError);
      resolve();
    };
    listener.once('error', onError);
    listener.once('listening', onListening);
  });
}
