/** A peer that does not read must not make this side gather messages in memory. */
import { bidiStream, clientStream, rawMethod, serverStream, unary } from './method';
import { eventually, FrameReader, gate, requestBytes, sleep, TestServer } from './testing/wire';

const CHUNK = 64 * 1024;
/** What sockets and stream buffers of both sides may hold, generously. */
const BUFFERED_MAX = 4 * 1024 * 1024;

let peer: TestServer;

beforeEach(async () => {
  peer = new TestServer({ stallTimeoutMs: Infinity });
  await peer.start();
});

afterEach(() => peer.stop());

/** Waits until a counter has not changed for 100 ms, and returns it. */
async function settled(counter: () => number): Promise<number> {
  for (;;) {
    const before = counter();
    await sleep(100);
    if (before > 0 && counter() === before) return before;
  }
}

test('a streaming handler is not asked for more while the client does not read, and for all when it does', async () => {
  const total = 4 * (BUFFERED_MAX / CHUNK);
  let made = 0;
  peer.server.register('test.Pressure', {
    Stream: serverStream(async function* () {
      for (; made < total; made++) {
        await Promise.resolve();
        yield Buffer.alloc(CHUNK, made);
      }
    }),
  });
  const socket = await peer.socket();
  socket.pause();
  socket.write(requestBytes(1, { service: 'test.Pressure', method: 'Stream' }, 1));
  expect((await settled(() => made)) * CHUNK).toBeLessThan(BUFFERED_MAX);
  const reader = new FrameReader(socket);
  socket.resume();
  for (let index = 0; index < total; index++) {
    const frame = await reader.next();
    expect(frame?.payload.length).toBe(CHUNK);
    expect(frame?.payload[0]).toBe(index % 256);
  }
  expect((await reader.next())?.flags).toBe(5);
});

test('a server does not read requests while their answers are not read', async () => {
  let handled = 0;
  peer.server.register('test.Pressure', {
    Large: unary(() => {
      handled++;
      return Buffer.alloc(CHUNK);
    }),
  });
  const socket = await peer.socket();
  socket.pause();
  const total = 20_000;
  for (let index = 0; index < total; index++) {
    socket.write(
      requestBytes(2 * index + 1, { service: 'test.Pressure', method: 'Large', payload: Buffer.alloc(1000) }),
    );
  }
  // One chunk of requests is handled to its end, so that its answers are in memory too.
  expect(await settled(() => handled)).toBeLessThan(500);
  const reader = new FrameReader(socket);
  socket.resume();
  const more = handled + 1000;
  for (let index = 0; index < more; index++) expect((await reader.next())?.streamId).toBe(2 * index + 1);
});

test('send waits for a server that does not take the requests', async () => {
  const { opened, open } = gate();
  let taken = 0;
  peer.server.register('test.Pressure', {
    Upload: clientStream(async (requests) => {
      await opened;
      for await (const request of requests) taken += request.length;
      return Buffer.from(String(taken));
    }),
  });
  const client = await peer.client();
  const call = client.clientStream(rawMethod('test.Pressure', 'Upload'));
  const total = 600;
  let sent = 0;
  const sending = (async () => {
    for (; sent < total; sent++) await call.send(Buffer.alloc(CHUNK));
  })();
  // 64 messages in the queue of the call, or 4 MiB, and the sockets.
  expect((await settled(() => sent)) * CHUNK).toBeLessThan(2 * BUFFERED_MAX);
  open();
  await sending;
  expect(Buffer.from(await call.finish()).toString()).toBe(String(total * CHUNK));
});

test('a client that reads its stream slowly slows the server down', async () => {
  let made = 0;
  peer.server.register('test.Pressure', {
    Stream: serverStream(async function* () {
      for (; made < 1000; made++) {
        await Promise.resolve();
        yield Buffer.alloc(CHUNK);
      }
    }),
  });
  const client = await peer.client({ stallTimeoutMs: Infinity });
  const stream = client.serverStream(rawMethod('test.Pressure', 'Stream'), Buffer.alloc(0));
  expect((await settled(() => made)) * CHUNK).toBeLessThan(2 * BUFFERED_MAX);
  let received = 0;
  for await (const message of stream) {
    expect(message.length).toBe(CHUNK);
    received++;
  }
  expect(received).toBe(1000);
});

test('two sides that both send a lot and read a little come to the end', async () => {
  peer.server.register('test.Pressure', { Mirror: bidiStream((requests) => requests) });
  const client = await peer.client({ stallTimeoutMs: Infinity });
  const call = client.bidiStream(rawMethod('test.Pressure', 'Mirror'));
  const sending = (async () => {
    for (let index = 0; index < 300; index++) await call.send(Buffer.alloc(CHUNK, index));
    call.closeSend();
  })();
  let received = 0;
  for await (const message of call) expect(message[0]).toBe(received++ % 256);
  await sending;
  expect(received).toBe(300);
});

test('a connection that is lost while a handler waits to write ends the handler', async () => {
  let ended = false;
  peer.server.register('test.Pressure', {
    Endless: serverStream(async function* () {
      try {
        for (;;) {
          await Promise.resolve();
          yield Buffer.alloc(CHUNK);
        }
      } finally {
        ended = true;
      }
    }),
  });
  const socket = await peer.socket();
  socket.pause();
  socket.write(requestBytes(1, { service: 'test.Pressure', method: 'Endless' }, 1));
  await sleep(100);
  expect(ended).toBe(false);
  socket.destroy();
  await eventually(() => ended, 'the generator is closed');
});

test('a send that waits for the socket rejects when the connection is lost', async () => {
  const { opened, open } = gate();
  peer.server.register('test.Pressure', {
    Upload: clientStream(async () => {
      await opened;
      return Buffer.alloc(0);
    }),
  });
  const client = await peer.client();
  const call = client.clientStream(rawMethod('test.Pressure', 'Upload'));
  let sent = 0;
  let waiting: Promise<void> | undefined;
  const sending = (async () => {
    for (; ; sent++) {
      waiting = call.send(Buffer.alloc(CHUNK));
      await waiting;
    }
  })();
  const loopEnds = expect(sending).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  await settled(() => sent);
  const sendEnds = expect(waiting).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  await client.close();
  await sendEnds;
  await loopEnds;
  open();
});

test('shutdown does not wait for a peer that does not read its last answer', async () => {
  let handled = false;
  peer.server.register('test.Pressure', {
    Large: unary(() => {
      handled = true;
      return Buffer.alloc(2 * 1024 * 1024);
    }),
  });
  const socket = await peer.socket();
  socket.pause();
  socket.write(requestBytes(1, { service: 'test.Pressure', method: 'Large' }));
  await eventually(() => handled, 'the handler has run');
  expect(await peer.server.shutdown({ timeoutMs: Infinity })).toBe(true);
});

test('a connection that is lost while a handler waits to write does not hold up shutdown', async () => {
  peer.server.register('test.Pressure', {
    Endless: serverStream(async function* () {
      for (;;) {
        await Promise.resolve();
        yield Buffer.alloc(CHUNK);
      }
    }),
  });
  const socket = await peer.socket();
  socket.pause();
  socket.write(requestBytes(1, { service: 'test.Pressure', method: 'Endless' }, 1));
  await sleep(50);
  socket.destroy();
  await sleep(50);
  expect(await peer.server.shutdown({ timeoutMs: 1000 })).toBe(true);
});
