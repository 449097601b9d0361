import type { Server } from 'node:net';

/** How long a pod without containers waits for containerd: to connect for the first time, and to come back. */
const FIRST_CONNECTION_MS = 5000;
const ABANDONED_MS = 3000;
/** And how long for the first request to create something, which follows the start at once. */
const FIRST_CREATE_MS = 15_000;

export interface AbandonedPod {
  /** There is no container any more that containerd could know of, and no sandbox. */
  isEmpty(): boolean;
  /** A container or a sandbox has been asked for. */
  wasUsed(): boolean;
  end(): void;
}

/**
 * Ends a pod that containerd has forgotten because it was killed between `start` and Create: a pod without a connection and
 * without a container, and one that nothing was ever asked of. That one has a connection, as containerd 1.6 comes back: it connects to every
 * shim whose bundle it finds (loadShims in its runtime/v2/shim_load.go), but has no task of it.
 */
export function endWhenAbandoned(listener: Pick<Server, 'on' | 'once' | 'listening'>, pod: AbandonedPod): void {
  let connections = 0;
  let timer: NodeJS.Timeout | undefined;
  const arm = (delayMs: number): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (connections > 0) return;
      if (pod.isEmpty()) pod.end();
      else arm(ABANDONED_MS);
    }, delayMs);
    timer.unref();
  };
  const unused = setTimeout(() => {
    if (!pod.wasUsed()) pod.end();
  }, FIRST_CREATE_MS);
  unused.unref();
  listener.on('connection', (socket) => {
    connections++;
    clearTimeout(timer);
    socket.once('close', () => {
      connections--;
      if (connections === 0 && listener.listening) arm(ABANDONED_MS);
    });
  });
  listener.once('close', () => {
    clearTimeout(timer);
    clearTimeout(unused);
  });
  arm(FIRST_CONNECTION_MS);
}
