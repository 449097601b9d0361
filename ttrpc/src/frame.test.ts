import { FrameParser, HEADER_LENGTH, MAX_MESSAGE_LENGTH, MessageType } from './frame';
import type { FrameHeader } from './frame';
import { errorWith, frameBytes } from './testing/wire';

/** Parses chunks and returns what was found, oversize frames as their header alone. */
function parse(chunks: readonly Buffer[]): { header: FrameHeader; payload?: string }[] {
  const found: { header: FrameHeader; payload?: string }[] = [];
  const parser = new FrameParser({
    onFrame: (header, payload) => found.push({ header, payload: payload.toString('latin1') }),
    onOversize: (header) => found.push({ header }),
  });
  for (const chunk of chunks) parser.push(chunk);
  return found;
}

const frames = [
  { streamId: 1, type: MessageType.Request, flags: 2, payload: Buffer.from('first') },
  { streamId: 0xffff_fffd, type: MessageType.Data, flags: 5, payload: Buffer.alloc(0) },
  {
    streamId: 3,
    type: MessageType.Response,
    flags: 0,
    payload: Buffer.from('a longer one, with \0 and \xff', 'latin1'),
  },
];
const stream = Buffer.concat(frames.map(frameBytes));
const expected = frames.map(({ payload, ...header }) => ({
  header: { ...header, length: payload.length },
  payload: payload.toString('latin1'),
}));

test('the header is length, stream id, type and flags, big endian', () => {
  const bytes = frameBytes({ streamId: 0x01020304, type: MessageType.Data, flags: 5, length: 0x0a0b0c });
  expect(bytes.toString('hex')).toBe('000a0b0c010203040305');
});

test('frames are found whatever way their bytes are split in two', () => {
  for (let split = 0; split <= stream.length; split++) {
    expect(parse([stream.subarray(0, split), stream.subarray(split)])).toEqual(expected);
  }
});

test('frames are found whatever way their bytes are split in three', () => {
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const chunks = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
      expect(parse(chunks)).toEqual(expected);
    }
  }
});

test('frames are found byte by byte', () => {
  expect(parse([...stream].map((byte) => Buffer.of(byte)))).toEqual(expected);
});

test('a payload that lies whole in a chunk is not copied', () => {
  const chunk = frameBytes(frames[0]!);
  const payloads: Buffer[] = [];
  const parser = new FrameParser({
    onFrame: (_header, payload) => payloads.push(payload),
    onOversize: () => undefined,
  });
  parser.push(chunk);
  expect(payloads).toHaveLength(1);
  expect(payloads[0]!.buffer).toBe(chunk.buffer);
  expect(payloads[0]!.byteOffset).toBe(chunk.byteOffset + HEADER_LENGTH);
});

test('the largest message passes, one byte more is skipped and reported, and the next frame is found', () => {
  const largest = { streamId: 5, type: MessageType.Data, flags: 0, payload: Buffer.alloc(MAX_MESSAGE_LENGTH, 'x') };
  const tooLarge = { ...largest, streamId: 7, payload: Buffer.alloc(MAX_MESSAGE_LENGTH + 1, 'y') };
  const all = Buffer.concat([frameBytes(largest), frameBytes(tooLarge), stream]);
  const chunks: Buffer[] = [];
  for (let offset = 0; offset < all.length; offset += 65_521) chunks.push(all.subarray(offset, offset + 65_521));
  for (const found of [parse(chunks), parse([all])]) {
    expect(found[0]?.header).toEqual({ streamId: 5, type: MessageType.Data, flags: 0, length: MAX_MESSAGE_LENGTH });
    expect(found[0]?.payload?.length).toBe(MAX_MESSAGE_LENGTH);
    expect(found[1]).toEqual({
      header: { streamId: 7, type: MessageType.Data, flags: 0, length: MAX_MESSAGE_LENGTH + 1 },
    });
    expect(found.slice(2)).toEqual(expected);
  }
});

test.each([0, 4, 0xff])('message type %i is a protocol error', (type) => {
  expect(() => parse([frameBytes({ streamId: 1, type })])).toThrow(errorWith('PROTOCOL_ERROR'));
});

test('a length that uses the reserved byte is a protocol error, also when the header is split', () => {
  const bytes = frameBytes({ streamId: 1, type: MessageType.Data, length: 0x0100_0000 });
  for (let split = 0; split < HEADER_LENGTH; split++) {
    expect(() => parse([bytes.subarray(0, split), bytes.subarray(split)])).toThrow(errorWith('PROTOCOL_ERROR'));
  }
  const belowReserved = frameBytes({ streamId: 1, type: MessageType.Data, length: 0x00ff_ffff });
  expect(parse([belowReserved])).toEqual([]);
});

test('a stopped parser drops the rest of the chunk it is in', () => {
  const seen: number[] = [];
  const parser = new FrameParser({
    onFrame: (header) => {
      seen.push(header.streamId);
      parser.stop();
    },
    onOversize: () => undefined,
  });
  parser.push(stream);
  parser.push(stream);
  expect(seen).toEqual([1]);
});
