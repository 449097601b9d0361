/** A client of a shim's own services, over either protocol: it starts one and calls it as containerd 2 does. */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { Client as GrpcClient, credentials, type ServiceError } from '@grpc/grpc-js';
import { Client as TtrpcClient, type TtrpcError } from 'ttrpc';
import { sandboxMethods, sandboxServiceName, taskMethods, taskServiceNames } from '../../proto';
import { binDirectory } from './checkout';
import { mustRun } from './command';
import type { Containerd } from './containerd';

export type ShimProtocol = 'ttrpc' | 'grpc';
const services = { sandbox: sandboxMethods, task: taskMethods } as const;
const names = { sandbox: sandboxServiceName, task: taskServiceNames[3] } as const;

/** An answer as an object; of the fields that most tests look at, the types. */
export type ShimAnswer = Record<string, unknown> & { readonly pid: number; readonly exitStatus: number };

/** A call that failed: what the shim said, and the number of its status, which both protocols take from gRPC. */
export class ShimCallError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface Messages {
  readonly request: { encode(message: object): Uint8Array };
  readonly response: { decode(bytes: Uint8Array): unknown };
}
type Call = (path: { service: string; method: string }, messages: Messages, request: object) => Promise<unknown>;

function shimWords(host: Containerd, id: string): string[] {
  const shim = join(binDirectory, 'containerd-shim-silt-v1');
  const words = ['-namespace', host.namespace, '-address', host.paths.socket];
  return [shim, ...words, '-publish-binary', host.peer.containerd, '-id', id];
}

export class ShimClient {
  /** Every method that has been called. */
  readonly called = new Set<string>();

  private constructor(
    /** The shim's socket. */
    readonly path: string,
    private readonly send: Call,
    /** Ends the connection. */
    readonly close: () => Promise<void>,
  ) {}

  /**
   * Starts the shim of a pod, with no containerd that knows of it. The protocol is the one that its answer names.
   * @param bundle of its first container, if that is there already
   */
  static async start(
    host: Containerd,
    id: string,
    protocol: ShimProtocol,
    bundle = mkdtempSync(join(host.directory, 'bundle-')),
  ): Promise<ShimClient> {
    const { stdout } = await mustRun([...shimWords(host, id), 'start'], {
      cwd: bundle,
      env: { ...host.environment, SILT_SHIM_PROTOCOL: protocol },
    });
    const answer = JSON.parse(stdout.toString()) as { address: string; protocol: ShimProtocol };
    if (answer.protocol !== protocol) throw new Error(`asked for ${protocol}, the shim speaks ${answer.protocol}`);
    const path = answer.address.replace('unix://', '');
    return protocol === 'grpc' ? ShimClient.overGrpc(path) : ShimClient.overTtrpc(path);
  }

  /** What containerd runs for a shim that it takes for dead. */
  static async cleanUp(host: Containerd, id: string, bundle: string): Promise<void> {
    await mustRun([...shimWords(host, id), '-bundle', bundle, 'delete'], { env: host.environment });
  }

  private static async overTtrpc(path: string): Promise<ShimClient> {
    const client = await TtrpcClient.connect(path);
    const send: Call = (target, messages, request) =>
      client.call({ ...target, ...messages } as never, request as never).catch((error: unknown) => {
        const { status, message } = error as TtrpcError;
        throw new ShimCallError(status, message);
      });
    return new ShimClient(path, send, () => client.close());
  }

  private static overGrpc(path: string): ShimClient {
    const client = new GrpcClient(`unix:${path}`, credentials.createInsecure());
    const send: Call = ({ service, method }, messages, request) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          `/${service}/${method}`,
          (message: object) => Buffer.from(messages.request.encode(message)),
          (bytes: Buffer) => messages.response.decode(bytes),
          request,
          (error: ServiceError | null, answer) =>
            error ? reject(new ShimCallError(error.code, error.details)) : resolve(answer),
        );
      });
    return new ShimClient(path, send, () => {
      client.close();
      return Promise.resolve();
    });
  }

  /** Calls a method of the Task service. Rejects with a {@link ShimCallError}. */
  task(method: keyof typeof taskMethods, request: object): Promise<ShimAnswer> {
    return this.call('task', method, request);
  }

  /** Calls a method of the Sandbox service. Rejects with a {@link ShimCallError}. */
  sandbox(method: keyof typeof sandboxMethods, request: object): Promise<ShimAnswer> {
    return this.call('sandbox', method, request);
  }

  /** Calls a method that may not be there, with an empty request. */
  call(service: keyof typeof names, method: string, request: object = {}): Promise<ShimAnswer> {
    this.called.add(method);
    const known = (services[service] as unknown as Record<string, Messages | undefined>)[method];
    const none: Messages = { request: { encode: () => new Uint8Array() }, response: { decode: (bytes) => bytes } };
    return this.send({ service: names[service], method }, known ?? none, request) as Promise<ShimAnswer>;
  }
}
