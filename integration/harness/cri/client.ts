/** A CRI client, as a kubelet is one: calls on containerd's socket, messages as plain objects. */
import { join } from 'node:path';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { checkout } from '../checkout';

const services = ['runtime.v1.RuntimeService', 'runtime.v1.ImageService'];
let loaded: protobuf.Root | undefined;

function definitions(): protobuf.Root {
  if (loaded === undefined) {
    loaded = protobuf.loadSync(join(checkout, 'integration/harness/cri/cri.proto'));
    loaded.resolveAll();
  }
  return loaded;
}

/** A message: fields by their JSON names. 64-bit numbers are numbers, enums their names, bytes Buffers; defaults are filled in. */
export type CriMessage = Record<string, unknown>;

/** The name of a gRPC status code that a call failed with, such as `NOT_FOUND`; rethrows what is no failed call. */
export function criStatus(error: unknown): string {
  const { code } = error as Partial<ServiceError>;
  const name = Object.entries(status).find(([, value]) => value === code)?.[0];
  if (name === undefined) throw error;
  return name;
}

export class CriClient {
  readonly #client: Client;

  /** @param socket containerd's; the client is to be closed */
  constructor(socket: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
  }

  /** Calls a method. Rejects with the call's failure (see {@link criStatus}), at the latest after `timeoutMs`. */
  call<Answer = CriMessage>(method: string, request: object = {}, timeoutMs = 60_000): Promise<Answer> {
    const { path, requestType, responseType } = lookUp(method);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        (message: CriMessage) => Buffer.from(requestType.encode(requestType.fromObject(message)).finish()),
        (bytes: Buffer) => decode(responseType, bytes),
        { ...request },
        new Metadata(),
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          if (error) reject(new CallError(method, error));
          else resolve(answer as Answer);
        },
      );
    });
  }

  /**
   * Calls a method whose answer is a stream; each message goes to `onMessage`. Returns what ends the stream.
   */
  stream(method: string, request: object, onMessage: (message: CriMessage) => void): () => void {
    const { path, requestType, responseType } = lookUp(method);
    const call = this.#client.makeServerStreamRequest(
      path,
      (message: CriMessage) => Buffer.from(requestType.encode(requestType.fromObject(message)).finish()),
      (bytes: Buffer) => decode(responseType, bytes),
      { ...request },
    );
    call.on('data', onMessage);
    // Ended here or with containerd.
    call.on('error', () => undefined);
    return () => call.cancel();
  }

  close(): void {
    this.#client.close();
  }
}

function decode(type: protobuf.Type, bytes: Buffer): CriMessage {
  return type.toObject(type.decode(bytes), { longs: Number, enums: String, defaults: true });
}

/** Names the method, which gRPC's own error does not. */
class CallError extends Error {
  readonly code: number;

  constructor(method: string, cause: ServiceError) {
    super(`${method}: ${cause.details}`, { cause });
    this.code = cause.code;
  }
}

function lookUp(method: string): { path: string; requestType: protobuf.Type; responseType: protobuf.Type } {
  for (const service of services) {
    const found = definitions().lookupService(service).methods[method];
    if (!found?.resolvedRequestType || !found.resolvedResponseType) continue;
    return {
      path: `/${service}/${method}`,
      requestType: found.resolvedRequestType,
      responseType: found.resolvedResponseType,
    };
  }
  throw new Error(`cri.proto has no method ${method}`);
}
