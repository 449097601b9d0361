/** The server against a peer that the test plays itself, its listeners, and shutting down. */
import { spawn } from 'node:child_process';
import { closeSync, linkSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { buildSync } from 'esbuild';
import { Client } from './client';
import { MAX_MESSAGE_LENGTH, MessageType } from './frame';
import { bidiStream, clientStream, rawMethod, serverStream, unary } from './method';
import { Server } from './server';
import type { TtrpcError } from './status';
import { collect, eventually, frameBytes, FrameReader, gate, requestBytes, TestServer } from './testing/wire';

const Echo = rawMethod('test.Server', 'Echo');
const nothing = Buffer.alloc(0);

let peer: TestServer;
let socket: Socket;
let answers: FrameReader;
/** What handlers did, in order. */
let log: string[];

beforeEach(async () => {
  log = [];
  peer = new TestServer();
  peer.server.register('test.Server', {
    Echo: unary((request) => request),
    Context: unary((_request, { metadata, deadlineMs }) =>
      Buffer.from(`${[...metadata].length} ${deadlineMs === undefined}`),
    ),
    Hang: unary((_request, { signal }) => {
      log.push('hanging');
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          log.push((signal.reason as TtrpcError).code);
          reject(signal.reason as Error);
        });
      });
    }),
    Two: serverStream(async function* () {
      await Promise.resolve();
      yield Buffer.from('1');
      yield nothing;
    }),
    Count: clientStream(async (requests) => Buffer.from(String((await collect(requests)).length))),
    Mirror: bidiStream((requests) => requests),
  });
  await peer.start();
  socket = await peer.socket();
  answers = new FrameReader(socket);
});

afterEach(() => peer.stop());

const call = (streamId: number, method: string, payload = nothing, flags = 0): Buffer =>
  requestBytes(streamId, { service: 'test.Server', method, payload }, flags);
const data = (streamId: number, text: string | undefined, flags = 0): Buffer =>
  frameBytes({ streamId, type: MessageType.Data, flags, payload: Buffer.from(text ?? '') });

test('unary: one response without flags on the stream of the request', async () => {
  socket.write(call(7, 'Echo', Buffer.from('x')));
  expect(await answers.nextResponse(7)).toEqual({ status: undefined, payload: Buffer.from('x') });
});

test('frames that come byte by byte are served', async () => {
  socket.setNoDelay(true);
  for (const byte of call(1, 'Echo', Buffer.from('slow'))) {
    socket.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  expect((await answers.nextResponse(1)).payload).toEqual(Buffer.from('slow'));
});

test('a server stream is data frames and at the end one without data that closes', async () => {
  socket.write(call(1, 'Two', nothing, 1));
  expect(await answers.next()).toEqual({ streamId: 1, type: MessageType.Data, flags: 0, payload: Buffer.from('1') });
  expect(await answers.next()).toEqual({ streamId: 1, type: MessageType.Data, flags: 0, payload: nothing });
  expect(await answers.next()).toEqual({ streamId: 1, type: MessageType.Data, flags: 5, payload: nothing });
});

test('a client stream counts empty messages but not frames without data, and answers with a response', async () => {
  socket.write(Buffer.concat([call(1, 'Count', nothing, 2), data(1, 'a'), data(1, ''), data(1, undefined, 5)]));
  expect((await answers.nextResponse(1)).payload).toEqual(Buffer.from('2'));
});

test('a client stream may have its first message in the request and its last one in the closing frame', async () => {
  socket.write(Buffer.concat([call(1, 'Count', Buffer.from('first'), 2), data(1, 'b'), data(1, 'last', 1)]));
  expect((await answers.nextResponse(1)).payload).toEqual(Buffer.from('3'));
});

test('a client stream opened by a plain request has that one message', async () => {
  socket.write(call(1, 'Count', Buffer.from('only')));
  expect((await answers.nextResponse(1)).payload).toEqual(Buffer.from('1'));
});

test('data after the end of the requests, or for a unary call, fails that call', async () => {
  socket.write(Buffer.concat([call(1, 'Mirror', nothing, 1), data(1, 'late')]));
  expect((await answers.nextResponse(1)).status?.code).toBe(3);
  socket.write(Buffer.concat([call(3, 'Hang'), data(3, 'x')]));
  expect((await answers.nextResponse(3)).status?.code).toBe(3);
  expect(log).toEqual(['hanging', 'INVALID_ARGUMENT']);
  socket.write(call(5, 'Echo', Buffer.from('on')));
  expect((await answers.nextResponse(5)).payload).toEqual(Buffer.from('on'));
});

test('a request that is no protobuf is INVALID_ARGUMENT and the connection stays usable', async () => {
  socket.write(frameBytes({ streamId: 1, type: MessageType.Request, payload: Buffer.from('ff', 'hex') }));
  expect((await answers.nextResponse(1)).status?.code).toBe(3);
  socket.write(call(3, 'Echo', Buffer.from('on')));
  expect((await answers.nextResponse(3)).payload).toEqual(Buffer.from('on'));
});

test('an oversize request is RESOURCE_EXHAUSTED and the connection stays usable', async () => {
  const payload = Buffer.alloc(MAX_MESSAGE_LENGTH + 1, 'x');
  socket.write(frameBytes({ streamId: 1, type: MessageType.Request, payload }));
  expect((await answers.nextResponse(1)).status).toMatchObject({
    code: 8,
    message: 'message of 4194305 bytes is over the limit of 4194304',
  });
  socket.write(call(3, 'Echo', Buffer.from('on')));
  expect((await answers.nextResponse(3)).payload).toEqual(Buffer.from('on'));
});

test('oversize data is RESOURCE_EXHAUSTED for its stream, and nothing for one that is over', async () => {
  const large = frameBytes({ streamId: 1, type: MessageType.Data, payload: Buffer.alloc(MAX_MESSAGE_LENGTH + 1) });
  socket.write(call(1, 'Count', nothing, 2));
  socket.write(large);
  expect((await answers.nextResponse(1)).status?.code).toBe(8);
  socket.write(large);
  socket.write(call(3, 'Echo', Buffer.from('on')));
  expect((await answers.nextResponse(3)).payload).toEqual(Buffer.from('on'));
});

test('a negative timeout is a deadline that has passed: the handler does not run', async () => {
  // timeout_nano (4) as -1: a varint of ten bytes.
  const expired = Buffer.concat([call(1, 'Hang').subarray(10), Buffer.from('20ffffffffffffffffff01', 'hex')]);
  socket.write(frameBytes({ streamId: 1, type: MessageType.Request, payload: expired }));
  expect((await answers.nextResponse(1)).status?.code).toBe(4);
  expect(log).toEqual([]);
});

test('a deadline beyond what timers can do does not fire early', async () => {
  peer.server.register('test.Slow', {
    Slow: unary(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return Buffer.from('done');
    }),
  });
  const timeoutNano = 2 ** 31 * 1_000_000;
  socket.write(requestBytes(1, { service: 'test.Slow', method: 'Slow', timeoutNano }));
  expect(await answers.nextResponse(1)).toEqual({ status: undefined, payload: Buffer.from('done') });
});

test('frames behind one that made the server close are not handled', async () => {
  peer.server.register('test.Close', {
    Close: unary(() => {
      log.push('closing');
      void peer.server.close();
      return nothing;
    }),
  });
  const closing = requestBytes(1, { service: 'test.Close', method: 'Close' });
  socket.write(Buffer.concat([closing, call(3, 'Hang')]));
  expect(await answers.next()).toBeUndefined();
  expect(log).toEqual(['closing']);
});

test('a deadline is answered while the handler still runs', async () => {
  const { opened, open } = gate();
  peer.server.register('test.Stubborn', {
    Stubborn: unary(async () => {
      await opened;
      return Buffer.from('too late');
    }),
  });
  socket.write(requestBytes(1, { service: 'test.Stubborn', method: 'Stubborn', timeoutNano: 20_000_000 }));
  expect((await answers.nextResponse(1)).status?.code).toBe(4);
  open();
  socket.write(call(3, 'Context'));
  expect((await answers.nextResponse(3)).payload.toString()).toBe('0 true');
});

test.each([
  ['a stream id that is used again', 3, 'request with a wrong stream id: 3 is not above the last one, 3'],
  ['a stream id that goes down', 1, 'request with a wrong stream id: 1 is not above the last one, 3'],
])('%s is answered with INVALID_ARGUMENT and the connection is closed', async (_name, streamId, message) => {
  socket.write(call(3, 'Echo'));
  expect((await answers.nextResponse(3)).status).toBeUndefined();
  socket.write(call(streamId, 'Echo'));
  expect((await answers.nextResponse(streamId)).status).toMatchObject({ code: 3, message });
  expect(await answers.next()).toBeUndefined();
  expect(peer.errors.map((error) => error.code)).toEqual(['PROTOCOL_ERROR']);
});

test.each([
  ['an even stream id', () => call(2, 'Echo'), 1],
  ['stream id 0', () => call(0, 'Echo'), 1],
  ['a response', () => frameBytes({ streamId: 1, type: MessageType.Response }), 0],
  ['data on a stream that was not opened', () => data(1, 'x'), 0],
  ['an unknown message type', () => frameBytes({ streamId: 1, type: 4 }), 0],
  ['a length that is none', () => frameBytes({ streamId: 1, type: MessageType.Request, length: 0x8000_0000 }), 0],
])('%s closes the connection', async (_name, frame, answerCount) => {
  socket.write(frame());
  let count = 0;
  while ((await answers.next()) !== undefined) count++;
  expect(count).toBe(answerCount);
  expect(peer.errors.map((error) => error.code)).toEqual(['PROTOCOL_ERROR']);
});

test('garbage aborts the calls of its connection and of no other', async () => {
  const client = await peer.client();
  const other = client.call(rawMethod('test.Server', 'Hang'), nothing);
  const otherEnds = expect(other).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  socket.write(call(1, 'Hang'));
  await eventually(() => log.length === 2, 'both handlers run');
  socket.write(Buffer.alloc(10, 0xff));
  await eventually(() => log.length === 3, 'one handler was aborted');
  expect(log).toEqual(['hanging', 'hanging', 'PROTOCOL_ERROR']);
  expect(Buffer.from(await client.call(Echo, Buffer.from('on'))).toString()).toBe('on');
  await client.close();
  await otherEnds;
});

test('a client that goes away aborts its calls and is no error', async () => {
  socket.write(call(1, 'Hang'));
  await eventually(() => log.length === 1, 'the handler runs');
  socket.destroy();
  await eventually(() => log.length === 2, 'the handler was aborted');
  expect(log).toEqual(['hanging', 'CONNECTION_CLOSED']);
  expect(peer.errors).toEqual([]);
});

test('shutdown lets running calls finish, refuses new ones, and closes idle connections at once', async () => {
  const { opened, open } = gate();
  peer.server.register('test.Slow', {
    Slow: unary(async () => {
      log.push('slow');
      await opened;
      return Buffer.from('done');
    }),
  });
  const idle = await peer.client();
  socket.write(requestBytes(1, { service: 'test.Slow', method: 'Slow' }));
  await eventually(() => log.length === 1, 'the handler runs');
  const shutdown = peer.server.shutdown();
  expect((await idle.closed).code).toBe('CONNECTION_CLOSED');
  await expect(Client.connect(peer.path)).rejects.toMatchObject({ code: 'CONNECTION_FAILED' });
  socket.write(call(3, 'Echo'));
  expect((await answers.nextResponse(3)).status).toMatchObject({ code: 14, message: 'the server is shutting down' });
  open();
  expect((await answers.nextResponse(1)).payload).toEqual(Buffer.from('done'));
  expect(await answers.next()).toBeUndefined();
  expect(await shutdown).toBe(true);
  await expect(peer.server.serve(createServer())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});

test('shutdown cancels what runs after its limit and says so', async () => {
  socket.write(call(1, 'Hang'));
  await eventually(() => log.length === 1, 'the handler runs');
  const started = Date.now();
  expect(await peer.server.shutdown({ timeoutMs: 50 })).toBe(false);
  expect(Date.now() - started).toBeGreaterThanOrEqual(49);
  expect(log).toEqual(['hanging', 'CONNECTION_CLOSED']);
  expect(await answers.next()).toBeUndefined();
});

test('shutdown waits for a handler whose call was answered by the deadline', async () => {
  const { opened, open } = gate();
  peer.server.register('test.Stubborn', {
    Stubborn: unary(async () => {
      await opened;
      log.push('cleaned up');
      return nothing;
    }),
  });
  socket.write(requestBytes(1, { service: 'test.Stubborn', method: 'Stubborn', timeoutNano: 10_000_000 }));
  expect((await answers.nextResponse(1)).status?.code).toBe(4);
  const shutdown = peer.server.shutdown();
  setTimeout(open, 30);
  expect(await shutdown).toBe(true);
  expect(log).toEqual(['cleaned up']);
});

test('shutdown without connections is done at once, and again', async () => {
  const server = new Server();
  expect(await server.shutdown()).toBe(true);
  expect(await server.shutdown({ timeoutMs: Infinity })).toBe(true);
  await server.close();
});

describe('listeners', () => {
  let directory: string;
  let server: Server;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ttrpc-test-'));
    server = new Server();
    server.register('test.Server', { Echo: unary((request) => request) });
  });

  afterEach(async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  });

  test('a listening descriptor that was inherited is served, and closed by shutdown', async () => {
    const bundle = join(directory, 'ttrpc.cjs');
    buildSync({ entryPoints: [join(__dirname, 'index.ts')], outfile: bundle, bundle: true, platform: 'node' });
    const program = `
      const { Server, unary } = require(${JSON.stringify(bundle)});
      const server = new Server();
      server.register('test.Server', {
        Echo: unary((request) => request),
        Stop: unary((request) => { setImmediate(() => server.shutdown()); return request; }),
      });
      server.serve(3);`;
    const path = join(directory, 'fd.sock');
    const owner = createServer().listen(path);
    await new Promise((resolve) => owner.once('listening', resolve));
    const { fd } = (owner as unknown as { _handle: { fd: number } })._handle;
    const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'inherit', 'inherit', fd] });
    try {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      // Another name keeps the socket reachable when its first owner lets go of it and removes the first one.
      linkSync(path, `${path}.kept`);
      owner.close();
      const client = await Client.connect(`${path}.kept`);
      expect(Buffer.from(await client.call(Echo, Buffer.from('by fd'))).toString()).toBe('by fd');
      await client.call(rawMethod('test.Server', 'Stop'), nothing);
      await client.closed;
      expect(await exited).toBe(0);
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('a connected socket is served', async () => {
    const path = join(directory, 'socket.sock');
    const listener = createServer((accepted) => void server.serve(accepted)).listen(path);
    const client = new Client(connect({ path }));
    expect(Buffer.from(await client.call(Echo, Buffer.from('by socket'))).toString()).toBe('by socket');
    await client.close();
    await new Promise((resolve) => listener.close(resolve));
  });

  test('several listeners share the services, and their sockets are removed', async () => {
    const paths = ['a.sock', 'b.sock'].map((name) => join(directory, name));
    for (const path of paths) await server.serve(createServer().listen(path));
    for (const path of paths) {
      const client = await Client.connect(path);
      expect(Buffer.from(await client.call(Echo, Buffer.from(path))).toString()).toBe(path);
    }
    await server.shutdown();
    await eventually(() => readdirSync(directory).length === 0, 'the sockets are removed');
  });

  test('a connection that is accepted after the shutdown is closed', async () => {
    const listener = createServer().listen(join(directory, 'late.sock'));
    await server.serve(listener);
    await server.shutdown();
    const [, late] = duplexPair();
    listener.emit('connection', late);
    expect(late.destroyed).toBe(true);
  });

  test('a listener that cannot listen rejects with the system error', async () => {
    const path = join(directory, 'twice.sock');
    await server.serve(createServer().listen(path));
    await expect(server.serve(createServer().listen(path))).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test('a descriptor that is no socket rejects', async () => {
    const fd = openSync('/dev/null', 'r');
    await expect(server.serve(fd)).rejects.toMatchObject({ syscall: 'listen' });
    closeSync(fd);
  });
});
