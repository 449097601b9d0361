/**
 * containerd's Tasks API, for what ctr cannot do: `ctr tasks checkpoint` makes an image, and no command of ctr starts a task
 * from it (`ctr containers checkpoint --task` of containerd up to 2.1 leaves the checkpoint out of what it makes). Its `--exit`
 * is for runc's own shim alone.
 */
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

/** Field numbers as in containerd's api/services/tasks/v1/tasks.proto and snapshots/v1/snapshots.proto. */
const definitions = `
syntax = "proto3";
message Mount { string type = 1; string source = 2; string target = 3; repeated string options = 4; }
message Descriptor { string media_type = 1; string digest = 2; int64 size = 3; }
message CreateRequest {
  string container_id = 1; repeated Mount rootfs = 3; string stdin = 4; string stdout = 5; string stderr = 6;
  bool terminal = 7; Descriptor checkpoint = 8;
}
message CreateAnswer { string container_id = 1; uint32 pid = 2; }
message StartRequest { string container_id = 1; string exec_id = 2; }
message StartAnswer { uint32 pid = 1; }
message Any { string type_url = 1; bytes value = 2; }
message CheckpointRequest { string container_id = 1; Any options = 3; }
message CheckpointAnswer { repeated Descriptor descriptors = 1; }
message MountsRequest { string snapshotter = 1; string key = 2; }
message MountsAnswer { repeated Mount mounts = 1; }
`;

const methods = {
  create: ['containerd.services.tasks.v1.Tasks/Create', 'CreateRequest', 'CreateAnswer'],
  start: ['containerd.services.tasks.v1.Tasks/Start', 'StartRequest', 'StartAnswer'],
  checkpoint: ['containerd.services.tasks.v1.Tasks/Checkpoint', 'CheckpointRequest', 'CheckpointAnswer'],
  mounts: ['containerd.services.snapshots.v1.Snapshots/Mounts', 'MountsRequest', 'MountsAnswer'],
} as const;

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface TaskStdio {
  readonly stdin?: string;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly terminal?: boolean;
}

export class TasksApi {
  readonly #client: Client;
  readonly #types = protobuf.parse(definitions).root;

  constructor(
    socket: string,
    private readonly namespace: string,
  ) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
  }

  /** Creates a container's task, from a checkpoint if one is given. Rejects with containerd's message. @returns the pid. */
  async create(id: string, checkpoint: Descriptor | undefined, stdio: TaskStdio = {}): Promise<number> {
    const { mounts } = await this.#call<{ mounts: object[] }>('mounts', { snapshotter: 'overlayfs', key: id });
    const request = { containerId: id, rootfs: mounts, ...(checkpoint && { checkpoint }), ...stdio };
    return (await this.#call<{ pid: number }>('create', request)).pid;
  }

  async start(id: string): Promise<number> {
    return (await this.#call<{ pid: number }>('start', { containerId: id })).pid;
  }

  /** Saves a task and ends it. What containerd stores belongs to a lease, which must be there. */
  async checkpointAndExit(id: string, lease: string): Promise<readonly Descriptor[]> {
    const exit = { typeUrl: 'containerd.runc.v1.CheckpointOptions', value: Buffer.from([0x08, 1]) };
    const request = { containerId: id, options: exit };
    return (await this.#call<{ descriptors: Descriptor[] }>('checkpoint', request, { 'containerd-lease': lease }))
      .descriptors;
  }

  close(): void {
    this.#client.close();
  }

  #call<Answer>(
    method: keyof typeof methods,
    request: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const [path, requestName, answerName] = methods[method];
    const [requestType, answerType] = [this.#types.lookupType(requestName), this.#types.lookupType(answerName)];
    const metadata = new Metadata();
    for (const [name, value] of Object.entries({ 'containerd-namespace': this.namespace, ...headers }))
      metadata.set(name, value);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/${path}`,
        (message: object) => Buffer.from(requestType.encode(requestType.fromObject(message)).finish()),
        (bytes: Buffer) =>
          answerType.toObject(answerType.decode(bytes), { longs: Number, defaults: true, arrays: true }),
        request,
        metadata,
        { deadline: Date.now() + 120_000 },
        (error, answer) => {
          if (error) reject(new Error(error.details));
          else resolve(answer as Answer);
        },
      );
    });
  }
}
