import { type MessageTypes, type MethodHandler, unary } from 'ttrpc';

interface AnyCodec {
  encode(message: never): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

/** A service as both protocols serve it: its full name, its methods' messages, and the object that has the methods. */
export interface Service {
  readonly name: string;
  readonly methods: Readonly<Record<string, { readonly request: AnyCodec; readonly response: AnyCodec }>>;
  readonly implementation: object;
}

/** Who waits for the answer to a request. */
export interface Caller {
  /** The connection has ended, or the time that the caller gave: nobody will hear the answer. */
  readonly isGone: boolean;
}

/** Calls a method of the service by its name. */
export function callService(service: Service, method: string, request: unknown, caller: Caller): unknown {
  return (service.implementation as Record<string, (request: unknown, caller: Caller) => unknown>)[method]!(
    request,
    caller,
  );
}

/** For ttrpc. A SiltError's `status` is what the server answers with: the edge where codes become numbers. */
export function ttrpcHandlers(service: Service): Record<string, MethodHandler> {
  const handlers: Record<string, MethodHandler> = {};
  for (const [name, types] of Object.entries(service.methods)) {
    handlers[name] = unary(
      types as unknown as MessageTypes<unknown, unknown>,
      (request, context) =>
        callService(service, name, request, {
          get isGone() {
            return context.signal.aborted;
          },
        }) as never,
    );
  }
  return handlers;
}
