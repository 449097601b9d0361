/** The shim's services over gRPC. A bundle of its own: the library is only loaded when a client speaks it. */
import type { Socket } from 'node:net';
import { type handleUnaryCall, Server, ServerCredentials, type ServiceDefinition, status } from '@grpc/grpc-js';
import { callService, type Service } from './service-handlers';
import { within } from './within';

export interface GrpcServer {
  /** Serves a client that has connected. */
  accept(socket: Socket): void;
  /** Takes no further calls, waits for the answers to those that are there, so many milliseconds at most, and cuts all clients off. */
  shutdown(timeoutMs: number): Promise<void>;
}

export function openGrpcServer(services: readonly Service[]): GrpcServer {
  const server = new Server();
  for (const service of services) server.addService(definitionOf(service), handlersOf(service));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const open = new Set<Promise<void>>();
  return {
    accept: (socket) => {
      const closed = new Promise<void>((resolve) => socket.once('close', resolve)).then(() => void open.delete(closed));
      open.add(closed);
      injector.injectConnection(socket);
    },
    async shutdown(timeoutMs) {
      // A session that is told to go closes its socket when its last call has been answered.
      injector.destroy();
      await within(timeoutMs, Promise.all(open));
      server.forceShutdown();
    },
  };
}

function definitionOf({ name, methods }: Service): ServiceDefinition {
  const definition: Record<string, ServiceDefinition[string]> = {};
  for (const [method, { request, response }] of Object.entries(methods)) {
    definition[method] = {
      path: `/${name}/${method}`,
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer): unknown => request.decode(bytes),
      requestSerialize: (message: unknown) => Buffer.from(request.encode(message as never)),
      responseDeserialize: (bytes: Buffer): unknown => response.decode(bytes),
      responseSerialize: (message: unknown) => Buffer.from(response.encode(message as never)),
    };
  }
  return definition;
}

function handlersOf(service: Service): Record<string, handleUnaryCall<unknown, unknown>> {
  const handlers: Record<string, handleUnaryCall<unknown, unknown>> = {};
  for (const method of Object.keys(service.methods)) {
    handlers[method] = (call, callback) => {
      Promise.resolve()
        .then(() =>
          callService(service, method, call.request, {
            get isGone() {
              return call.cancelled;
            },
          }),
        )
        .then(
          (answer) => callback(null, answer),
          (error: unknown) => callback(failure(error)),
        );
    };
  }
  return handlers;
}

/** The same numbers and text that ttrpc answers with. Not by class: this bundle has its own copy of it. */
function failure(error: unknown): { code: number; details: string } {
  const details = error instanceof Error ? error.message : String(error);
  const { status: code } = error as { status?: unknown };
  return { code: typeof code === 'number' ? code : status.UNKNOWN, details };
}
