/**
 * The client against a Go server: a private containerd (its own directories and sockets), whose ttrpc socket serves the
 * events service. Skipped, with the reason printed, where containerd or the right to run it is missing.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import protobuf from 'protobufjs';
import { Client } from './client';
import { MAX_MESSAGE_LENGTH, MessageType } from './frame';
import { rawMethod } from './method';
import { eventually, frameBytes, FrameReader, requestBytes, sleep } from './testing/wire';

const SERVICE = 'containerd.services.events.ttrpc.v1.Events';
const Forward = rawMethod(SERVICE, 'Forward');

const definitions = protobuf.parse(`
  syntax = "proto3";
  package test;
  message ForwardRequest { Envelope envelope = 1; }
  message Envelope { Timestamp timestamp = 1; string namespace = 2; string topic = 3; Any event = 4; }
  message Timestamp { int64 seconds = 1; int32 nanos = 2; }
  message Any { string type_url = 1; bytes value = 2; }
  message TaskOOM { string container_id = 1; }
`).root;
const ForwardRequest = definitions.lookupType('test.ForwardRequest');
const TaskOOM = definitions.lookupType('test.TaskOOM');

/** A ForwardRequest with an event that says that a container ran out of memory. */
function oomEvent(namespace: string, containerId: string, topic = '/tasks/oom'): Uint8Array {
  const event = { typeUrl: 'containerd.events.TaskOOM', value: TaskOOM.encode({ containerId }).finish() };
  const timestamp = { seconds: Math.floor(Date.now() / 1000), nanos: 1 };
  return ForwardRequest.encode({ envelope: { timestamp, namespace, topic, event } }).finish();
}

function findProgram(name: string): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter);
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

const containerd = findProgram('containerd');
const ctr = findProgram('ctr');
const skipReason =
  containerd === undefined || ctr === undefined
    ? 'containerd and ctr are not installed'
    : process.getuid?.() !== 0
      ? 'containerd needs root'
      : undefined;
if (skipReason !== undefined) console.warn(`skipped: the Go peer, because ${skipReason}`);

(skipReason === undefined ? describe : describe.skip)('a Go server', () => {
  let directory: string;
  let socketPath: string;
  let ttrpcPath: string;
  let client: Client;
  const children: ChildProcess[] = [];

  /** Starts a program whose output goes to a file in the directory, and returns how to read that. */
  function start(program: string, args: string[], output: string): () => string {
    const path = join(directory, output);
    const fd = openSync(path, 'w');
    children.push(spawn(program, args, { stdio: ['ignore', fd, fd] }));
    closeSync(fd);
    return () => readFileSync(path, 'utf8');
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'ttrpc-go-'));
    socketPath = join(directory, 'c.sock');
    ttrpcPath = `${socketPath}.ttrpc`;
    const config = join(directory, 'config.toml');
    writeFileSync(
      config,
      `version = 2
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
]
[grpc]
  address = "${socketPath}"
[ttrpc]
  address = "${ttrpcPath}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${directory}/opt"
`,
    );
    const log = start(containerd!, ['--config', config], 'containerd.log');
    const ready = (): boolean => log().includes('containerd successfully booted');
    await eventually(() => ready() || children[0]!.exitCode !== null, 'containerd runs', 20_000);
    if (!ready()) throw new Error(`containerd did not start:\n${log()}`);
    client = await Client.connect(ttrpcPath);
  }, 30_000);

  afterAll(async () => {
    await client.close();
    for (const child of children.reverse()) {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await exited;
    }
    rmSync(directory, { recursive: true, force: true });
  }, 20_000);

  test('forwards an event that a Go client then sees', async () => {
    const output = start(ctr!, ['--address', socketPath, '--namespace', 'ttrpc-test', 'events'], 'events.log');
    // There is no telling when ctr has subscribed, so the event is sent until it is seen.
    for (let attempt = 0; attempt < 100 && !output().includes('from-node'); attempt++) {
      const answer = await client.call(Forward, oomEvent('ttrpc-test', 'from-node'), { timeoutMs: 5000 });
      expect(answer).toHaveLength(0);
      await sleep(50);
    }
    expect(output()).toMatch(/ttrpc-test \/tasks\/oom \{"container_id":"from-node"\}/);
  });

  test('answers an unknown method and an unknown service with Unimplemented and its own message', async () => {
    await expect(client.call(rawMethod(SERVICE, 'Nope'), Buffer.alloc(0))).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      status: 12,
      message: 'method Nope',
    });
    await expect(client.call(rawMethod('no.such.Service', 'Nope'), Buffer.alloc(0))).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      message: 'service no.such.Service',
    });
  });

  test('answers a request that it does not accept with its status', async () => {
    await expect(client.call(Forward, oomEvent('ttrpc-test', 'x', 'no-slash'))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('no-slash') as string,
    });
    await expect(client.call(Forward, Buffer.from('ff', 'hex'))).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('unmarshalling') as string,
    });
  });

  test('takes metadata, timeouts and many calls at once', async () => {
    const calls = Array.from({ length: 200 }, (_unused, index) =>
      client.call(Forward, oomEvent('ttrpc-test', `many-${index}`), {
        timeoutMs: 10_000,
        metadata: { 'containerd-namespace-ttrpc': 'ttrpc-test', 'x-many': ['a', 'b'] },
      }),
    );
    const answers = await Promise.all(calls);
    expect(answers.every((answer) => answer.length === 0)).toBe(true);
  });

  test('takes a message of nearly the limit, and discards one over it', async () => {
    const large = oomEvent('ttrpc-test', 'x'.repeat(MAX_MESSAGE_LENGTH - 1000));
    expect(await client.call(Forward, large)).toHaveLength(0);

    const socket = connect({ path: ttrpcPath });
    const answers = new FrameReader(socket);
    socket.write(frameBytes({ streamId: 1, type: MessageType.Request, payload: Buffer.alloc(MAX_MESSAGE_LENGTH + 1) }));
    expect((await answers.nextResponse(1)).status?.code).toBe(8);
    socket.write(requestBytes(3, { service: SERVICE, method: 'Forward', payload: oomEvent('ttrpc-test', 'x') }));
    expect((await answers.nextResponse(3)).status?.code ?? 0).toBe(0);
    socket.destroy();
  });
});
