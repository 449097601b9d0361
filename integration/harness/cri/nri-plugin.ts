/**
 * A plugin of containerd's Node Resource Interface (NRI), as far as a test needs one: it changes containers while they are created.
 * https://github.com/containerd/nri has the protocol: ttrpc both ways over one connection.
 */
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import protobuf from 'protobufjs';
import { Client, type Codec, Server, unary } from 'ttrpc';

/** Field numbers as in pkg/api/api.proto; only what is used here. */
const definitions = `
syntax = "proto3";
message Empty {}
message RegisterRequest { string plugin_name = 1; string plugin_idx = 2; }
message ConfigureResponse { int32 events = 2; }
message Container { string id = 1; string name = 3; }
message CreateRequest { Container container = 2; }
message Mount { string destination = 1; string type = 2; string source = 3; repeated string options = 4; }
message KeyValue { string key = 1; string value = 2; }
message OptionalNumber { int64 value = 1; }
message Device { string path = 1; string type = 2; int64 major = 3; int64 minor = 4; OptionalNumber file_mode = 5; }
message Memory { OptionalNumber limit = 1; }
message Cpu { OptionalNumber shares = 1; OptionalNumber quota = 2; OptionalNumber period = 3; }
message Resources { Memory memory = 1; Cpu cpu = 2; }
message LinuxAdjustment { repeated Device devices = 1; Resources resources = 2; }
message Adjustment {
  map<string, string> annotations = 2; repeated Mount mounts = 3; repeated KeyValue env = 4; LinuxAdjustment linux = 6;
}
message LinuxUpdate { Resources resources = 1; }
message ContainerUpdate { string container_id = 1; LinuxUpdate linux = 2; }
message CreateResponse { Adjustment adjust = 1; }
message UpdateContainers { repeated ContainerUpdate update = 1; }
message UpdateContainersAnswer { repeated ContainerUpdate failed = 1; }
`;

const CREATE_CONTAINER = 4;
const UPDATE_CONTAINER = 8;
/** Numbers of the two connections that share the socket. */
const PLUGIN = 1;
const RUNTIME = 2;
const service = (name: string): string => `nri.pkg.api.v1alpha1.${name}`;

/** A change to the container of this name, as the message Adjustment has it. */
export type Adjust = (containerName: string) => object | undefined;

export class NriPlugin {
  private constructor(
    private readonly socket: Socket,
    private readonly client: Client,
    private readonly types: protobuf.Root,
  ) {}

  /** Registers with containerd, and adjusts from then on. To be closed. */
  static async start(socketPath: string, adjust: Adjust): Promise<NriPlugin> {
    const types = protobuf.parse(definitions).root;
    const codec = (name: string): Codec<Record<string, unknown>> => codecOf(types, name);
    const socket = connect(socketPath);
    const streams = split(socket);
    let configured: () => void = () => undefined;
    const ready = new Promise<void>((resolve, reject) => {
      configured = resolve;
      socket.once('error', reject);
      socket.once('close', () => reject(new Error(`containerd closed ${socketPath}`)));
    });
    const answer = (response: string, handle: () => object) =>
      unary({ request: codec('Empty'), response: codec(response) }, () => handle() as never);
    const server = new Server({ onError: () => undefined });
    server.register(service('Plugin'), {
      Configure: answer('ConfigureResponse', () => ({ events: eventMask(CREATE_CONTAINER, UPDATE_CONTAINER) })),
      Synchronize: answer('Empty', () => {
        configured();
        return {};
      }),
      CreateContainer: unary({ request: codec('CreateRequest'), response: codec('CreateResponse') }, (request) => {
        const adjustment = adjust((request['container'] as { name: string }).name);
        return adjustment ? { adjust: adjustment } : {};
      }),
      UpdateContainer: answer('Empty', () => ({})),
      StateChange: answer('Empty', () => ({})),
      Shutdown: answer('Empty', () => ({})),
    });
    await server.serve(streams.get(PLUGIN)!);
    const plugin = new NriPlugin(socket, new Client(streams.get(RUNTIME)!), types);
    await plugin.#call('RegisterPlugin', 'RegisterRequest', 'Empty', { pluginName: 'silt-test', pluginIdx: '10' });
    await ready;
    return plugin;
  }

  /** Changes the resources of a running container of its own accord. @returns what containerd could not update. */
  async update(containerId: string, resources: object): Promise<unknown> {
    const request = { update: [{ containerId, linux: { resources } }] };
    const answer = await this.#call('UpdateContainers', 'UpdateContainers', 'UpdateContainersAnswer', request);
    return answer['failed'];
  }

  close(): void {
    this.socket.destroy();
  }

  #call(method: string, request: string, response: string, message: object): Promise<Record<string, unknown>> {
    const [from, to] = [codecOf(this.types, request), codecOf(this.types, response)];
    return this.client.call({ service: service('Runtime'), method, request: from, response: to }, { ...message });
  }
}

/** Bit n-1 is event n. */
function eventMask(...events: number[]): number {
  return events.reduce((mask, event) => mask | (1 << (event - 1)), 0);
}

function codecOf(types: protobuf.Root, name: string): Codec<Record<string, unknown>> {
  const type = types.lookupType(name);
  return {
    encode: (message) => type.encode(type.fromObject(message)).finish(),
    decode: (bytes) => type.toObject(type.decode(bytes), { longs: Number, defaults: true }),
  };
}

/** The connections that share a socket: 4 bytes of number and 4 of length, big-endian, before each piece of data. */
function split(socket: Socket): Map<number, Duplex> {
  const streams = new Map<number, Duplex>();
  for (const id of [PLUGIN, RUNTIME]) {
    const write = (chunk: Buffer, _: string, done: (error?: Error | null) => void): void => {
      const header = Buffer.alloc(8);
      header.writeUInt32BE(id, 0);
      header.writeUInt32BE(chunk.length, 4);
      socket.write(Buffer.concat([header, chunk]), done);
    };
    streams.set(id, new Duplex({ read: () => undefined, write }));
  }
  let waiting = Buffer.alloc(0);
  socket.on('data', (data: Buffer) => {
    waiting = Buffer.concat([waiting, data]);
    while (waiting.length >= 8 && waiting.length >= 8 + waiting.readUInt32BE(4)) {
      const end = 8 + waiting.readUInt32BE(4);
      streams.get(waiting.readUInt32BE(0))?.push(waiting.subarray(8, end));
      waiting = waiting.subarray(end);
    }
  });
  socket.on('close', () => streams.forEach((stream) => stream.destroy()));
  return streams;
}
