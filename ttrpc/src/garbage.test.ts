/** What a peer sends must never stop a server: hundreds of connections with random and damaged bytes. */
import { rawMethod, serverStream, unary, bidiStream } from './method';
import { requestBytes, sleep, TestServer } from './testing/wire';

const CONNECTIONS = 400;

/** A small generator with a seed (mulberry32), so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Bytes = (next: () => number) => Buffer;

function randomBytes(next: () => number, lengthMax: number): Buffer {
  return Buffer.from(Array.from({ length: Math.floor(next() * lengthMax) }, () => Math.floor(next() * 256)));
}

const anyBytes: Bytes = (next) => randomBytes(next, 3000);

/** Frames with a good length and anything else, so that what is behind the parser gets its share. */
const anyFrames: Bytes = (next) => {
  const frames: Buffer[] = [];
  for (let count = Math.floor(next() * 20); count >= 0; count--) {
    const payload = randomBytes(next, 40);
    const header = Buffer.alloc(10);
    header.writeUInt32BE(payload.length, 0);
    header.writeUInt32BE(Math.floor(next() * 8), 4);
    header[8] = Math.floor(next() * 4);
    header[9] = Math.floor(next() * 8);
    frames.push(header, payload);
  }
  return Buffer.concat(frames);
};

/** Good calls of which some bytes are changed. */
const damagedCalls: Bytes = (next) => {
  const methods = ['Echo', 'List', 'Chat'];
  const calls = Array.from({ length: 10 }, (_unused, index) => {
    const method = methods[Math.floor(next() * methods.length)]!;
    const payload = Buffer.alloc(50, 'p');
    return requestBytes(2 * index + 1, { service: 'test.Garbage', method, payload }, Math.floor(next() * 3));
  });
  const bytes = Buffer.concat(calls);
  for (let count = Math.floor(next() * 10); count > 0; count--) {
    bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
  }
  return bytes;
};

test.each([
  ['random bytes', anyBytes, 1],
  ['random frames', anyFrames, 2],
  ['damaged calls', damagedCalls, 3],
])(
  'a server survives %s and goes on serving others',
  async (_name, bytes, seed) => {
    const peer = new TestServer();
    peer.server.register('test.Garbage', {
      Echo: unary((request) => request),
      List: serverStream(async function* (request) {
        await Promise.resolve();
        yield request;
      }),
      Chat: bidiStream((requests) => requests),
    });
    await peer.start();
    try {
      const client = await peer.client();
      const next = random(seed);
      for (let count = 0; count < CONNECTIONS; count++) {
        const socket = await peer.socket();
        socket.on('error', () => undefined);
        socket.resume();
        const all = bytes(next);
        const cut = Math.floor(next() * all.length);
        socket.write(all.subarray(0, cut));
        if (count % 3 === 0) await sleep(0);
        socket.write(all.subarray(cut));
        if (count % 2 === 0) socket.end();
        else if (count % 5 === 0) socket.destroy();
        if (count % 50 === 0) {
          const answer = await client.call(rawMethod('test.Garbage', 'Echo'), Buffer.from(`call ${count}`));
          expect(Buffer.from(answer).toString()).toBe(`call ${count}`);
        }
      }
      await sleep(50);
      const answer = await client.call(rawMethod('test.Garbage', 'Echo'), Buffer.from('alive'));
      expect(Buffer.from(answer).toString()).toBe('alive');
      expect(new Set(peer.errors.map((error) => error.code))).toEqual(new Set(['PROTOCOL_ERROR']));
      expect(peer.errors.length).toBeGreaterThan(CONNECTIONS / 10);
    } finally {
      await peer.stop();
    }
  },
  30_000,
);
