import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client as GrpcClient, credentials } from '@grpc/grpc-js';
import { Client as TtrpcClient, Server as TtrpcServer } from 'ttrpc';
import { SiltError } from '../errors';
import { sandboxMethods, sandboxServiceName, taskMethods, taskServiceNames } from '../proto';
import { acceptBothProtocols } from './protocols';
import { type Service, ttrpcHandlers } from './service-handlers';

let answerSlow: () => void;
const slow = new Promise<void>((resolve) => (answerSlow = resolve));

/** A sandbox that is known by its id, and a task service that repeats what it is asked for. */
const services: Service[] = [
  {
    name: sandboxServiceName,
    methods: sandboxMethods,
    implementation: {
      SandboxStatus: ({ sandboxId }: { sandboxId: string }) => {
        if (sandboxId === 'none') throw new SiltError('CONTAINER_NOT_FOUND', 'there is no sandbox none');
        return Promise.resolve({ sandboxId, pid: 42, state: 'SANDBOX_READY', info: {} });
      },
    },
  },
  {
    name: taskServiceNames[3],
    methods: taskMethods,
    implementation: {
      Connect: async ({ id }: { id: string }) => {
        if (id === 'slow') await slow;
        return { shimPid: 7, taskPid: id.length, version: '3' };
      },
    },
  },
];

const directory = mkdtempSync(join(tmpdir(), 'silt-protocols-'));
const path = join(directory, 'socket');
const ttrpc = new TtrpcServer();
for (const service of services) ttrpc.register(service.name, ttrpcHandlers(service));
const listener = createServer();
const shutdownGrpc = acceptBothProtocols(listener, ttrpc, services);

type Call = (service: string, method: string, request: object) => Promise<unknown>;

const typesOf = (service: string, method: string) => services.find(({ name }) => name === service)!.methods[method]!;
let grpcClient: GrpcClient;
let ttrpcClient: TtrpcClient;

const callers: Record<string, Call> = {
  grpc: (service, method, request) =>
    new Promise((resolve, reject) => {
      const { request: asked, response } = typesOf(service, method);
      grpcClient.makeUnaryRequest(
        `/${service}/${method}`,
        (message: object) => Buffer.from(asked.encode(message as never)),
        (bytes: Buffer) => response.decode(bytes),
        request,
        (error, answer) => (error ? reject(new Error(`${error.code} ${error.details}`)) : resolve(answer)),
      );
    }),
  ttrpc: async (service, method, request) => {
    const { request: asked, response } = typesOf(service, method);
    try {
      return await ttrpcClient.call({ service, method, request: asked, response } as never, request as never);
    } catch (error) {
      throw new Error(`${(error as { status: number }).status} ${(error as Error).message}`, { cause: error });
    }
  },
};

beforeAll(async () => {
  await new Promise<void>((resolve) => listener.listen(path, resolve));
  grpcClient = new GrpcClient(`unix:${path}`, credentials.createInsecure());
  ttrpcClient = await TtrpcClient.connect(path);
});
afterAll(async () => {
  grpcClient.close();
  await ttrpcClient.close();
  listener.close();
  rmSync(directory, { recursive: true });
});

describe.each(Object.keys(callers))('over %s', (protocol) => {
  const call = callers[protocol]!;

  test('every service answers on the one socket', async () => {
    expect(await call(sandboxServiceName, 'SandboxStatus', { sandboxId: 'pod', verbose: true })).toMatchObject({
      sandboxId: 'pod',
      pid: 42,
      state: 'SANDBOX_READY',
    });
    expect(await call(taskServiceNames[3], 'Connect', { id: 'four' })).toEqual({
      shimPid: 7,
      taskPid: 4,
      version: '3',
    });
  });

  test('an error has its number and its words', async () => {
    await expect(call(sandboxServiceName, 'SandboxStatus', { sandboxId: 'none' })).rejects.toThrow(
      '5 there is no sandbox none',
    );
  });

  test('many calls at once are answered each', async () => {
    const ids = Array.from({ length: 50 }, (_, i) => 'x'.repeat(i));
    const answers = await Promise.all(ids.map((id) => call(taskServiceNames[3], 'Connect', { id })));
    expect(answers).toEqual(ids.map((id) => ({ shimPid: 7, taskPid: id.length, version: '3' })));
  });
});

test('a client that says nothing and goes harms nobody', async () => {
  for (let i = 0; i < 3; i++) {
    await new Promise<void>((resolve) => {
      const socket = connect(path, () => socket.destroy());
      socket.once('close', () => resolve());
    });
  }
  expect(await callers['grpc']!(taskServiceNames[3], 'Connect', { id: '' })).toMatchObject({ taskPid: 0 });
});

// The last one: nobody is served in gRPC afterwards.
test('a call that has come is answered over gRPC when the server ends', async () => {
  const call = callers['grpc']!(taskServiceNames[3], 'Connect', { id: 'slow' });
  await callers['grpc']!(taskServiceNames[3], 'Connect', { id: 'behind it' });
  const ended = shutdownGrpc(10_000);
  answerSlow();
  expect(await call).toMatchObject({ taskPid: 4 });
  await ended;
});
