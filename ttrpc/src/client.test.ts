/** The client against a peer that the test plays itself, frame by frame. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import type { Duplex } from 'node:stream';
import { Client } from './client';
import { decodeRequest, encodeResponse } from './codec';
import type { ResponseMessage } from './codec';
import { MAX_MESSAGE_LENGTH, MessageType } from './frame';
import { rawMethod } from './method';
import { collect, errorWith, frameBytes, FrameReader, joinParts } from './testing/wire';

const Method = rawMethod('test.Service', 'Method');
const nothing = Buffer.alloc(0);

let server: Duplex;
let client: Client;
let requests: FrameReader;

beforeEach(() => {
  const [near, far] = duplexPair();
  client = new Client(near);
  server = far;
  requests = new FrameReader(far);
});

afterEach(async () => {
  await client.close();
  server.destroy();
});

function answer(streamId: number, response: Partial<ResponseMessage>): void {
  const message = { status: undefined, payload: nothing, ...response };
  const payload = joinParts(encodeResponse(message, 0));
  server.write(frameBytes({ streamId, type: MessageType.Response, payload }));
}

test('stream ids are odd and increase, requests leave in the order of the calls', async () => {
  const calls = ['a', 'b', 'c'].map((text) => client.call(Method, Buffer.from(text)));
  for (const [index, text] of ['a', 'b', 'c'].entries()) {
    const frame = await requests.next();
    expect(frame).toMatchObject({ streamId: 2 * index + 1, type: MessageType.Request, flags: 0 });
    expect(Buffer.from(decodeRequest(frame!.payload).payload).toString()).toBe(text);
  }
  for (const streamId of [5, 1, 3]) answer(streamId, { payload: Buffer.from(`to ${streamId}`) });
  const answers = await Promise.all(calls);
  expect(answers.map((bytes) => Buffer.from(bytes).toString())).toEqual(['to 1', 'to 3', 'to 5']);
});

test('a request carries service, method, timeout in nanoseconds and metadata', async () => {
  const call = client.call(Method, Buffer.from('p'), { timeoutMs: 1500.5, metadata: { Key: ['a', 'b'] } });
  const request = decodeRequest((await requests.next())!.payload);
  expect(request).toEqual({
    service: 'test.Service',
    method: 'Method',
    payload: Buffer.from('p'),
    timeoutNano: 1_500_500_000,
    metadata: [
      { key: 'key', value: 'a' },
      { key: 'key', value: 'b' },
    ],
  });
  answer(1, {});
  await call;
});

test('the flags say what kind of stream is opened, and the end of the requests is a frame without data', async () => {
  const stream = client.serverStream(Method, Buffer.from('r'));
  const upload = client.clientStream(Method);
  client.bidiStream(Method);
  expect(await requests.next()).toMatchObject({ streamId: 1, type: MessageType.Request, flags: 1 });
  const opening = await requests.next();
  expect(opening).toMatchObject({ streamId: 3, type: MessageType.Request, flags: 2 });
  expect(opening!.payload.includes(0x1a)).toBe(false);
  expect(await requests.next()).toMatchObject({ streamId: 5, type: MessageType.Request, flags: 2 });
  await upload.send(Buffer.from('data'));
  await upload.send(nothing);
  const result = upload.finish();
  expect(await requests.next()).toMatchObject({
    streamId: 3,
    type: MessageType.Data,
    flags: 0,
    payload: Buffer.from('data'),
  });
  expect(await requests.next()).toMatchObject({ streamId: 3, type: MessageType.Data, flags: 0, payload: nothing });
  expect(await requests.next()).toMatchObject({ streamId: 3, type: MessageType.Data, flags: 5, payload: nothing });
  answer(3, { payload: Buffer.from('result') });
  expect(Buffer.from(await result).toString()).toBe('result');
  answer(1, {});
  expect(await collect(stream)).toEqual([]);
});

test('a status of zero is a success', async () => {
  const call = client.call(Method, nothing);
  answer(1, { status: { code: 0, message: '', details: [] }, payload: Buffer.from('ok') });
  expect(Buffer.from(await call).toString()).toBe('ok');
});

test('an oversize answer fails its call alone', async () => {
  const first = client.call(Method, nothing);
  const second = client.call(Method, nothing);
  const firstFails = expect(first).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  server.write(frameBytes({ streamId: 1, type: MessageType.Response, payload: Buffer.alloc(MAX_MESSAGE_LENGTH + 1) }));
  answer(3, { payload: Buffer.from('fine') });
  await firstFails;
  expect(Buffer.from(await second).toString()).toBe('fine');
});

test('an answer that is no protobuf, and data for a unary call, fail that call alone', async () => {
  const calls = [client.call(Method, nothing), client.call(Method, nothing), client.call(Method, nothing)];
  const failures = calls.slice(0, 2).map((call) => expect(call).rejects.toMatchObject({ code: 'INTERNAL' }));
  server.write(frameBytes({ streamId: 1, type: MessageType.Response, payload: Buffer.from('ff', 'hex') }));
  server.write(frameBytes({ streamId: 3, type: MessageType.Data, payload: Buffer.from('x') }));
  answer(5, {});
  await Promise.all(failures);
  expect(await calls[2]).toHaveLength(0);
});

test.each([
  ['random bytes', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['an unknown message type', frameBytes({ streamId: 1, type: 9 })],
  ['a request', frameBytes({ streamId: 1, type: MessageType.Request })],
  ['an even stream id', frameBytes({ streamId: 2, type: MessageType.Data })],
  ['a stream that was not opened', frameBytes({ streamId: 3, type: MessageType.Response })],
])('%s from the server closes the connection and fails the call', async (_name, garbage) => {
  const call = expect(client.call(Method, nothing)).rejects.toMatchObject({ code: 'CONNECTION_CLOSED', status: 14 });
  server.write(garbage);
  await call;
  expect(await client.closed).toMatchObject({ code: 'PROTOCOL_ERROR' });
});

test('when the connection is lost every pending call and every later one fails with CONNECTION_CLOSED', async () => {
  const stream = client.serverStream(Method, nothing);
  const upload = client.clientStream(Method);
  const failures = [
    client.call(Method, nothing),
    client.call(Method, nothing, { timeoutMs: 60_000 }),
    stream.receive(),
    upload.finish(),
  ].map((promise) => expect(promise).rejects.toMatchObject({ code: 'CONNECTION_CLOSED', status: 14 }));
  server.destroy();
  await Promise.all(failures);
  await expect(client.call(Method, nothing)).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  await expect(upload.send(nothing)).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  expect(() => client.serverStream(Method, nothing)).toThrow(errorWith('CONNECTION_CLOSED'));
  expect((await client.closed).code).toBe('CONNECTION_CLOSED');
});

test('a connection that breaks within a frame fails the calls too', async () => {
  const call = expect(client.call(Method, nothing)).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  server.write(frameBytes({ streamId: 1, type: MessageType.Response, payload: Buffer.alloc(50) }).subarray(0, 30));
  server.end();
  await call;
});

test('close fails pending calls, may be called again, and gives its reason', async () => {
  const call = expect(client.call(Method, nothing)).rejects.toMatchObject({
    code: 'CONNECTION_CLOSED',
    message: 'the client was closed',
  });
  await Promise.all([client.close(), client.close()]);
  await call;
  await client.close();
  expect((await client.closed).message).toBe('the client was closed');
});

test('a client on a stream that is closed already fails its calls', async () => {
  const [near] = duplexPair();
  near.destroy();
  const dead = new Client(near);
  expect((await dead.closed).code).toBe('CONNECTION_CLOSED');
  await expect(dead.call(Method, nothing)).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  await dead.close();
});

test('stream ids that are used up are an error and not reused', async () => {
  (client as unknown as { nextStreamId: number }).nextStreamId = 0xffff_ffff;
  const last = client.call(Method, nothing);
  expect((await requests.next())?.streamId).toBe(0xffff_ffff);
  await expect(client.call(Method, nothing)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
  answer(0xffff_ffff, {});
  expect(await last).toHaveLength(0);
});

test('connecting to nothing is CONNECTION_FAILED with the system error as cause', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ttrpc-test-'));
  const connecting = Client.connect(join(directory, 'none.sock'), { connectTimeoutMs: 5000 });
  await expect(connecting).rejects.toMatchObject({ code: 'CONNECTION_FAILED', cause: { code: 'ENOENT' } });
  rmSync(directory, { recursive: true });
});
