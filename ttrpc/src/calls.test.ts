/** Unary calls, client and server together over a unix socket. */
import { getEventListeners } from 'node:events';
import { duplexPair } from 'node:stream';
import { Client } from './client';
import { rawMethod, unary } from './method';
import type { CallContext, Method } from './method';
import { Server } from './server';
import { TtrpcError } from './status';
import { errorWith, eventually, gate, sleep, TestServer, textCodec } from './testing/wire';

const Echo = rawMethod('test.Calls', 'Echo');
const Upper: Method<string, string> = {
  service: 'test.Calls',
  method: 'Upper',
  request: textCodec,
  response: textCodec,
};
const bytes = (text: string): Buffer => Buffer.from(text);

let peer: TestServer;
let client: Client;
/** The context of the last call to Describe or Hang. */
let context: CallContext | undefined;

beforeEach(async () => {
  peer = new TestServer();
  context = undefined;
  peer.server.register('test.Calls', {
    Echo: unary((request) => request),
    Upper: unary(Upper, (request) => Promise.resolve(request.toUpperCase())),
    Describe: unary((_request, given) => {
      context = given;
      return bytes('');
    }),
    Hang: unary((_request, given) => {
      context = given;
      return new Promise((_resolve, reject) => {
        given.signal.addEventListener('abort', () => {
          reject(given.signal.reason as Error);
        });
      });
    }),
    Fail: unary(() => {
      const details = [{ typeUrl: 'type.example/Why', value: bytes('because') }];
      throw new TtrpcError('FAILED_PRECONDITION', 'not now', { details });
    }),
    FailLater: unary(() => Promise.reject(new Error('later'))),
    Nothing: unary((() => undefined) as never),
    LongError: unary(() => {
      throw new Error('x'.repeat(5_000_000));
    }),
  });
  await peer.start();
  client = await peer.client();
});

afterEach(() => peer.stop());

const hang = rawMethod('test.Calls', 'Hang');
const describeCall = rawMethod('test.Calls', 'Describe');

test.each([0, 1, 1000, 65_536, 4 * 1024 * 1024 - 100])('a payload of %i bytes goes there and back', async (length) => {
  const payload = Buffer.alloc(length, 'abcdefg');
  const answer = await client.call(Echo, payload);
  expect(Buffer.compare(answer, payload)).toBe(0);
});

test('codecs are applied on both sides', async () => {
  expect(await client.call(Upper, 'grüße')).toBe('GRÜSSE');
});

test('a thousand calls at once each get their own answer', async () => {
  const texts = Array.from({ length: 1000 }, (_unused, index) => `call ${index}`);
  const answers = await Promise.all(texts.map((text) => client.call(Upper, text)));
  expect(answers).toEqual(texts.map((text) => text.toUpperCase()));
});

test('a slow call does not hold up the next one', async () => {
  const slow = client.call(hang, bytes(''), { timeoutMs: 2000 });
  const slowResult = expect(slow).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  expect(await client.call(Upper, 'quick')).toBe('QUICK');
  await client.close();
  await slowResult;
});

test('a thrown TtrpcError arrives with code, status, message and details', async () => {
  const error = await client.call(rawMethod('test.Calls', 'Fail'), bytes('')).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(TtrpcError);
  expect(error).toMatchObject({ code: 'FAILED_PRECONDITION', status: 9, message: 'not now' });
  const { details } = error as TtrpcError;
  expect(details.map((any) => [any.typeUrl, Buffer.from(any.value).toString()])).toEqual([
    ['type.example/Why', 'because'],
  ]);
});

test.each([
  ['FailLater', 'UNKNOWN', 'later'],
  ['Nothing', 'INTERNAL', 'a message cannot be encoded: the result is undefined, not a Uint8Array'],
  ['Missing', 'UNIMPLEMENTED', 'method Missing of service test.Calls'],
  ['toString', 'UNIMPLEMENTED', 'method toString of service test.Calls'],
  ['LongError', 'RESOURCE_EXHAUSTED', 'message of 5000012 bytes is over the limit of 4194304'],
])('%s fails with %s and the connection stays usable', async (method, code, message) => {
  await expect(client.call(rawMethod('test.Calls', method), bytes(''))).rejects.toMatchObject({ code, message });
  expect(await client.call(Upper, 'on')).toBe('ON');
});

test('an unknown service is unimplemented', async () => {
  const call = client.call(rawMethod('test.Other', 'Echo'), bytes(''));
  await expect(call).rejects.toMatchObject({ code: 'UNIMPLEMENTED', message: 'service test.Other' });
});

test('codecs that throw: INVALID_ARGUMENT for the request on either side, INTERNAL for the response', async () => {
  const fail = (): never => {
    throw new Error('broken');
  };
  const broken = { encode: fail, decode: fail };
  await expect(client.call({ ...Upper, request: broken }, 'x')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(client.call({ ...Upper, response: broken }, 'x')).rejects.toMatchObject({ code: 'INTERNAL' });
  peer.server.register('test.Broken', {
    Request: unary({ request: broken, response: textCodec }, () => ''),
    Response: unary({ request: textCodec, response: broken }, () => ''),
  });
  await expect(client.call(rawMethod('test.Broken', 'Request'), bytes(''))).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: 'a received message cannot be decoded: broken',
  });
  await expect(client.call(rawMethod('test.Broken', 'Response'), bytes(''))).rejects.toMatchObject({
    code: 'INTERNAL',
    message: 'a message cannot be encoded: broken',
  });
});

test('a service cannot be registered twice', () => {
  expect(() => {
    peer.server.register('test.Calls', {});
  }).toThrow(errorWith('ALREADY_EXISTS'));
});

test('metadata arrives, names in any case, several values in order', async () => {
  await client.call(describeCall, bytes(''), { metadata: { 'Namespace-Ttrpc': 'k8s.io', many: ['a', 'b', ''] } });
  expect(context?.metadata.get('namespace-TTRPC')).toBe('k8s.io');
  expect(context?.metadata.getAll('many')).toEqual(['a', 'b', '']);
  expect(context?.metadata.get('absent')).toBeUndefined();
  expect([...context!.metadata][0]).toEqual({ key: 'namespace-ttrpc', value: 'k8s.io' });
});

test('the handler knows its method and, only if there is one, the deadline', async () => {
  await client.call(describeCall, bytes(''));
  expect(context).toMatchObject({ service: 'test.Calls', method: 'Describe', deadlineMs: undefined });
  const before = Date.now();
  await client.call(describeCall, bytes(''), { timeoutMs: 60_000 });
  expect(context?.deadlineMs).toBeGreaterThanOrEqual(before + 59_999);
  expect(context?.deadlineMs).toBeLessThan(Date.now() + 60_001);
});

test('a timeout fails the call and aborts the handler, whose signal gives the reason', async () => {
  const started = Date.now();
  await expect(client.call(hang, bytes(''), { timeoutMs: 50 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(Date.now() - started).toBeGreaterThanOrEqual(49);
  await eventually(() => context!.signal.aborted, 'the signal is aborted');
  expect(context!.signal.reason).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(await client.call(Upper, 'on')).toBe('ON');
});

test('a call that is done in time is not aborted later', async () => {
  await client.call(describeCall, bytes(''), { timeoutMs: 30 });
  await sleep(60);
  expect(context!.signal.aborted).toBe(false);
});

test('calls that are done leave nothing behind: no timer, no listener on the signal, no entry', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const { signal } = new AbortController();
  const before = timers();
  for (let count = 0; count < 20; count++) await client.call(Upper, 'x', { timeoutMs: 60_000, signal });
  expect(timers()).toBe(before);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  expect((client as unknown as { pending: Map<number, unknown> }).pending.size).toBe(0);
});

test('a timeout of zero, below zero or not a number fails before anything is sent', async () => {
  for (const timeoutMs of [0, -5]) {
    await expect(client.call(describeCall, bytes(''), { timeoutMs })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
  }
  const call = client.call(describeCall, bytes(''), { timeoutMs: Number.NaN });
  await expect(call).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await client.call(Upper, 'a call after them');
  expect(context).toBeUndefined();
});

test.each([Number.POSITIVE_INFINITY, 2 ** 31, 1e12])('a timeout of %d ms does not fire early', async (timeoutMs) => {
  const slow = unary(async () => {
    await sleep(20);
    return bytes('done');
  });
  peer.server.register('test.Slow', { Slow: slow });
  expect(Buffer.from(await client.call(rawMethod('test.Slow', 'Slow'), bytes(''), { timeoutMs }))).toEqual(
    bytes('done'),
  );
});

test('an aborted signal cancels the call, with its reason as cause', async () => {
  const controller = new AbortController();
  const call = client.call(hang, bytes(''), { signal: controller.signal });
  const result = expect(call).rejects.toMatchObject({ code: 'CANCELLED', cause: 'enough' });
  await eventually(() => context !== undefined, 'the handler runs');
  controller.abort('enough');
  await result;
  const late = client.call(Echo, bytes(''), { signal: controller.signal });
  await expect(late).rejects.toMatchObject({ code: 'CANCELLED', cause: 'enough' });
  expect(await client.call(Upper, 'on')).toBe('ON');
});

test('an answer that comes after the call was given up is ignored', async () => {
  const { opened, open } = gate();
  const late = unary(async () => {
    await opened;
    return bytes('late');
  });
  peer.server.register('test.Late', { Late: late });
  const controller = new AbortController();
  const call = client.call(rawMethod('test.Late', 'Late'), bytes(''), { signal: controller.signal });
  const result = expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(await client.call(Upper, 'a')).toBe('A');
  controller.abort();
  await result;
  open();
  expect(await client.call(Upper, 'b')).toBe('B');
});

test('a request over the limit is refused before it is sent, one of just the limit is not', async () => {
  await expect(client.call(Echo, Buffer.alloc(4 * 1024 * 1024))).rejects.toMatchObject({
    code: 'RESOURCE_EXHAUSTED',
    status: 8,
  });
  expect(await client.call(Upper, 'on')).toBe('ON');
});

test('a response over the limit becomes RESOURCE_EXHAUSTED and the connection stays usable', async () => {
  peer.server.register('test.Large', { Large: unary(() => Buffer.alloc(4 * 1024 * 1024)) });
  await expect(client.call(rawMethod('test.Large', 'Large'), bytes(''))).rejects.toMatchObject({
    code: 'RESOURCE_EXHAUSTED',
  });
  expect(await client.call(Upper, 'on')).toBe('ON');
});

test('all of it works on any pair of streams', async () => {
  const [near, far] = duplexPair();
  const server = new Server();
  server.register('test.Calls', { Upper: unary(Upper, (text) => text.toUpperCase()) });
  await server.serve(far);
  const paired = new Client(near);
  expect(await paired.call(Upper, 'pair')).toBe('PAIR');
  await paired.close();
  await server.close();
});
