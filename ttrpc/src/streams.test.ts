/** Streaming calls of all three kinds, client and server together over a unix socket. */
import { getEventListeners } from 'node:events';
import type { Client } from './client';
import { bidiStream, clientStream, serverStream, unary } from './method';
import type { Method } from './method';
import { TtrpcError } from './status';
import { MAX_QUEUED_MESSAGES } from './stream';
import { collect, eventually, gate, sleep, TestServer, textCodec } from './testing/wire';

function textMethod(method: string): Method<string, string> {
  return { service: 'test.Streams', method, request: textCodec, response: textCodec };
}

const Repeat = textMethod('Repeat');
const Join = textMethod('Join');
const Chat = textMethod('Chat');
const Ping = textMethod('Ping');

let peer: TestServer;
let client: Client;
/** What handlers did, in order. */
let log: string[];

beforeEach(async () => {
  log = [];
  peer = new TestServer();
  peer.server.register('test.Streams', {
    Ping: unary(Ping, (text) => text),
    /** Sends "text 1" to "text n" for the request "n text". */
    Repeat: serverStream(Repeat, async function* (request) {
      const [count, text] = request.split(' ');
      for (let index = 1; index <= Number(count); index++) {
        await Promise.resolve();
        yield `${text ?? ''} ${index}`;
      }
    }),
    Join: clientStream(Join, async (requests) => (await collect(requests)).join(',')),
    Chat: bidiStream(Chat, async function* (requests) {
      for await (const request of requests) yield `re: ${request}`;
      yield 'bye';
    }),
  });
  await peer.start();
  client = await peer.client();
});

afterEach(() => peer.stop());

test('server stream: all responses in order, empty ones too, then the end', async () => {
  expect(await collect(client.serverStream(Repeat, '3 x'))).toEqual(['x 1', 'x 2', 'x 3']);
  expect(await collect(client.serverStream(Repeat, '0 x'))).toEqual([]);
  peer.server.register('test.Empty', {
    Empty: serverStream(Repeat, async function* () {
      await Promise.resolve();
      yield '';
      yield '';
    }),
  });
  expect(await collect(client.serverStream({ ...Repeat, service: 'test.Empty', method: 'Empty' }, ''))).toEqual([
    '',
    '',
  ]);
});

test('server stream: receive gives undefined at the end, again and again', async () => {
  const stream = client.serverStream(Repeat, '1 x');
  expect(await stream.receive()).toBe('x 1');
  expect(await stream.receive()).toBeUndefined();
  expect(await stream.receive()).toBeUndefined();
});

test('server stream: an error comes after the responses before it', async () => {
  peer.server.register('test.Fails', {
    Fails: serverStream(Repeat, async function* () {
      await Promise.resolve();
      yield 'one';
      throw new TtrpcError('NOT_FOUND', 'no two');
    }),
  });
  const stream = client.serverStream({ ...Repeat, service: 'test.Fails', method: 'Fails' }, '');
  expect(await stream.receive()).toBe('one');
  await expect(stream.receive()).rejects.toMatchObject({ code: 'NOT_FOUND', message: 'no two' });
});

test('an unknown streaming method is unimplemented', async () => {
  const missing = textMethod('Missing');
  await expect(client.serverStream(missing, '').receive()).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  await expect(client.clientStream(missing).finish()).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  await expect(client.bidiStream(missing).receive()).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
});

test('a handler that returns no iterable fails its call alone', async () => {
  peer.server.register('test.Wrong', { Wrong: serverStream((() => 'text') as never) });
  const stream = client.serverStream({ ...Repeat, service: 'test.Wrong', method: 'Wrong' }, '');
  await expect(stream.receive()).rejects.toMatchObject({ code: 'UNKNOWN' });
  expect(await client.call(Ping, 'on')).toBe('on');
});

test('client stream: all requests in order, one response', async () => {
  const call = client.clientStream(Join);
  for (const text of ['a', '', 'c']) await call.send(text);
  expect(await call.finish()).toBe('a,,c');
  await expect(call.send('d')).rejects.toMatchObject({ code: 'STREAM_CLOSED' });
});

test('client stream: no requests at all', async () => {
  expect(await client.clientStream(Join).finish()).toBe('');
});

test('client stream: the server may answer early, and later requests are refused or ignored', async () => {
  peer.server.register('test.Early', {
    Early: clientStream(Join, async (requests) => {
      for await (const request of requests) return `only ${request}`;
      return 'none';
    }),
  });
  const call = client.clientStream({ ...Join, service: 'test.Early', method: 'Early' });
  await call.send('a');
  await call.send('b');
  await call.send('c');
  expect(await call.finish()).toBe('only a');
  expect(await client.call(Ping, 'on')).toBe('on');
  expect(peer.errors).toEqual([]);
});

test('client stream: an error of the server reaches send and finish', async () => {
  peer.server.register('test.Refuse', {
    Refuse: clientStream(Join, () => {
      throw new TtrpcError('PERMISSION_DENIED', 'not you');
    }),
  });
  const call = client.clientStream({ ...Join, service: 'test.Refuse', method: 'Refuse' });
  await client.call(Ping, 'so that the answer is here');
  await expect(call.send('a')).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
  await expect(call.finish()).rejects.toMatchObject({ code: 'PERMISSION_DENIED', message: 'not you' });
});

test('bidi stream: requests and responses take turns, and the server has the last word', async () => {
  const chat = client.bidiStream(Chat);
  await chat.send('a');
  expect(await chat.receive()).toBe('re: a');
  await chat.send('b');
  await chat.send('c');
  expect(await chat.receive()).toBe('re: b');
  chat.closeSend();
  expect(await collect(chat)).toEqual(['re: c', 'bye']);
  await expect(chat.send('d')).rejects.toMatchObject({ code: 'STREAM_CLOSED' });
});

test('bidi stream: many at once do not mix', async () => {
  const talk = async (name: string): Promise<string[]> => {
    const chat = client.bidiStream(Chat);
    for (let index = 0; index < 20; index++) await chat.send(`${name}${index}`);
    chat.closeSend();
    return collect(chat);
  };
  const names = Array.from({ length: 50 }, (_unused, index) => `chat ${index}: `);
  const heard = await Promise.all(names.map(talk));
  for (const [index, name] of names.entries()) {
    expect(heard[index]).toEqual([...Array.from({ length: 20 }, (_unused, turn) => `re: ${name}${turn}`), 'bye']);
  }
});

test('streams that are done leave nothing behind: no timer, no listener on the signal, no entry', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const { signal } = new AbortController();
  const options = { timeoutMs: 60_000, signal };
  const before = timers();
  await collect(client.serverStream(Repeat, '3 x', options));
  await client.clientStream(Join, options).finish();
  const chat = client.bidiStream(Chat, options);
  chat.closeSend();
  await collect(chat);
  expect(timers()).toBe(before);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  expect((client as unknown as { pending: Map<number, unknown> }).pending.size).toBe(0);
});

test('a message over the limit fails send alone; the stream goes on', async () => {
  const chat = client.bidiStream(Chat);
  await expect(chat.send('x'.repeat(4 * 1024 * 1024 + 1))).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  await chat.send('y'.repeat(4 * 1024 * 1024 - 4));
  expect(await chat.receive()).toHaveLength(4 * 1024 * 1024);
  chat.closeSend();
  expect(await chat.receive()).toBe('bye');
});

test('a response over the limit ends the stream with RESOURCE_EXHAUSTED', async () => {
  const chat = client.bidiStream(Chat);
  await chat.send('y'.repeat(4 * 1024 * 1024 - 3));
  await expect(chat.receive()).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  expect(await client.call(Ping, 'on')).toBe('on');
});

test('leaving the loop early cancels the call and tells the server that no more requests come', async () => {
  peer.server.register('test.Leave', {
    Leave: bidiStream(Chat, async function* (requests) {
      yield 'first';
      for await (const request of requests) yield request;
      log.push('requests ended');
    }),
  });
  const chat = client.bidiStream({ ...Chat, service: 'test.Leave', method: 'Leave' });
  for await (const text of chat) {
    expect(text).toBe('first');
    break;
  }
  await expect(chat.receive()).rejects.toMatchObject({ code: 'CANCELLED' });
  await eventually(() => log.length > 0, 'the handler sees the end');
  expect(log).toEqual(['requests ended']);
});

test.each(['timeout', 'signal', 'cancel'] as const)('a %s ends what waits on the stream', async (way) => {
  const chats = textMethod('Wait');
  peer.server.register('test.Wait', {
    Wait: bidiStream(Chat, async function* (requests, { signal }) {
      signal.addEventListener('abort', () => log.push((signal.reason as TtrpcError).code));
      for await (const request of requests) yield request;
    }),
  });
  const controller = new AbortController();
  const options = way === 'timeout' ? { timeoutMs: 50 } : { signal: controller.signal };
  const chat = client.bidiStream({ ...chats, service: 'test.Wait' }, options);
  const code = way === 'timeout' ? 'DEADLINE_EXCEEDED' : 'CANCELLED';
  const waiting = expect(chat.receive()).rejects.toMatchObject({ code });
  if (way === 'signal') setTimeout(() => controller.abort(), 20);
  if (way === 'cancel') setTimeout(() => chat.cancel(), 20);
  await waiting;
  await expect(chat.send('more')).rejects.toMatchObject({ code });
  expect(await client.call(Ping, 'on')).toBe('on');
});

test('the deadline ends a streaming handler: iterable and signal, and its finally blocks run', async () => {
  const { opened, open } = gate();
  peer.server.register('test.Deadline', {
    Reads: clientStream(Join, async (requests, { signal }) => {
      signal.addEventListener('abort', () => log.push('signal'));
      try {
        return (await collect(requests)).join();
      } catch (error) {
        log.push((error as TtrpcError).code);
        throw error;
      }
    }),
    Writes: serverStream(Repeat, async function* () {
      try {
        for (;;) {
          yield 'tick';
          await sleep(5);
        }
      } finally {
        log.push('finally');
        open();
      }
    }),
  });
  const options = { timeoutMs: 40 };
  const reads = client.clientStream({ ...Join, service: 'test.Deadline', method: 'Reads' }, options);
  // The server's own timer is to fire, so this side's end of the requests must not be what ends the handler.
  await sleep(1);
  const writes = client.serverStream({ ...Repeat, service: 'test.Deadline', method: 'Writes' }, '', options);
  await expect(collect(writes)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  await expect(reads.finish()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  await opened;
  expect(log).toContain('finally');
});

test('when the client goes away the handler sees it in iterable, signal and finally', async () => {
  peer.server.register('test.Gone', {
    Gone: bidiStream(Chat, async function* (requests, { signal }) {
      signal.addEventListener('abort', () => log.push(`signal ${(signal.reason as TtrpcError).code}`));
      try {
        yield 'ready';
        for await (const request of requests) yield request;
      } catch (error) {
        log.push(`iterable ${(error as TtrpcError).code}`);
      } finally {
        log.push('finally');
      }
    }),
  });
  const other = await peer.client();
  const chat = other.bidiStream({ ...Chat, service: 'test.Gone', method: 'Gone' });
  expect(await chat.receive()).toBe('ready');
  await other.close();
  await eventually(() => log.length === 3, 'three notes');
  expect(log.sort()).toEqual(['finally', 'iterable CONNECTION_CLOSED', 'signal CONNECTION_CLOSED']);
});

test('a stream that nobody reads is given up after the stall limit, and the other calls go on', async () => {
  const impatient = await peer.client({ stallTimeoutMs: 50 });
  const stream = impatient.serverStream(Repeat, `${10 * MAX_QUEUED_MESSAGES} ${'x'.repeat(10_000)}`);
  expect(await impatient.call(Ping, 'on')).toBe('on');
  await sleep(100);
  expect(await impatient.call(Ping, 'still on')).toBe('still on');
  await expect(collect(stream)).rejects.toMatchObject({ code: 'STREAM_FULL', status: 8 });
});

test('a server gives up a handler that does not read, and answers RESOURCE_EXHAUSTED', async () => {
  const impatient = new TestServer({ stallTimeoutMs: 50 });
  const { opened, open } = gate();
  impatient.server.register('test.Streams', {
    Ping: unary(Ping, (text) => text),
    Join: clientStream(Join, async () => {
      await opened;
      return 'never read';
    }),
  });
  await impatient.start();
  try {
    const sender = await impatient.client();
    const call = sender.clientStream(Join, { timeoutMs: 3000 });
    const sending = (async () => {
      for (;;) await call.send('x'.repeat(10_000));
    })();
    await expect(sending).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(await sender.call(Ping, 'on')).toBe('on');
  } finally {
    open();
    await impatient.stop();
  }
});
