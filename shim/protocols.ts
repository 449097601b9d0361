import type { Server as NetServer, Socket } from 'node:net';
import type { Server as TtrpcServer } from 'ttrpc';
import type { GrpcServer } from './grpc-server';
import type { Service } from './service-handlers';

/** Every HTTP/2 client begins with "PRI * HTTP/2.0" (RFC 9113, section 3.4). As a ttrpc frame that would be one of 1.3 GB. */
const FIRST_OF_HTTP2 = 'P'.charCodeAt(0);

/**
 * Serves every client that connects in the protocol that it speaks, ttrpc or gRPC: which one is what containerd was told in the
 * answer to `start`, and its first byte says it again.
 * @returns ends what is served in gRPC, as its server's `shutdown`; what is in ttrpc is that server's
 */
export function acceptBothProtocols(
  listener: NetServer,
  ttrpc: TtrpcServer,
  services: readonly Service[],
): GrpcServer['shutdown'] {
  let grpc: GrpcServer | undefined;
  listener.on('connection', (socket: Socket) => {
    socket.once('error', () => socket.destroy());
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null;
      if (first === null) {
        socket.destroy();
        return;
      }
      socket.unshift(first);
      if (first[0] === FIRST_OF_HTTP2) (grpc ??= load().openGrpcServer(services)).accept(socket);
      else void ttrpc.serve(socket).catch(() => socket.destroy());
    });
  });
  return async (timeoutMs) => grpc?.shutdown(timeoutMs);
}

/** The gRPC library is larger than all the rest of the shim: it is loaded with the first client that speaks it. */
function load(): typeof import('./grpc-server') {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- a static import would load it at start
  return require('./grpc-server') as typeof import('./grpc-server');
}
