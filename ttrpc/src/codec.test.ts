import protobuf from 'protobufjs';
import { decodeRequest, decodeResponse, encodeRequest, encodeResponse } from './codec';
import type { RequestMessage, ResponseMessage } from './codec';
import { joinParts } from './testing/wire';

// The other side of these tests is protobufjs, reading the messages' definitions.
const definitions = protobuf.parse(`
  syntax = "proto3";
  package test;
  message Request { string service = 1; string method = 2; bytes payload = 3; int64 timeout_nano = 4; repeated KeyValue metadata = 5; }
  message Response { Status status = 1; bytes payload = 2; }
  message KeyValue { string key = 1; string value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message Any { string type_url = 1; bytes value = 2; }
`).root;
const Request = definitions.lookupType('test.Request');
const Response = definitions.lookupType('test.Response');

function plain(type: protobuf.Type, bytes: Uint8Array): Record<string, unknown> {
  return type.toObject(type.decode(bytes), { longs: Number, bytes: String, arrays: true });
}

const bytes = (text: string): Buffer => Buffer.from(text);
const base64 = (text: string): string => Buffer.from(text).toString('base64');

const requests: [string, RequestMessage][] = [
  ['empty', { service: '', method: '', payload: bytes(''), timeoutNano: 0, metadata: [] }],
  [
    'full',
    {
      service: 'containerd.task.v2.Task',
      method: 'Create',
      payload: bytes('payload'),
      timeoutNano: 5_000_000_000,
      metadata: [
        { key: 'containerd-namespace-ttrpc', value: 'k8s.io' },
        { key: 'k', value: '' },
        { key: '', value: 'ü€😀' },
      ],
    },
  ],
  [
    'long strings',
    {
      service: 's'.repeat(127),
      method: 'm'.repeat(128),
      payload: bytes('p'.repeat(20_000)),
      timeoutNano: 1,
      metadata: [],
    },
  ],
  ['long timeout', { service: 'a', method: 'b', payload: bytes(''), timeoutNano: 2 ** 52 + 1, metadata: [] }],
];

describe.each(requests)('request: %s', (_name, request) => {
  const encoded = joinParts(encodeRequest(request, 0));

  test('comes back from its bytes', () => {
    const decoded = decodeRequest(encoded);
    expect({ ...decoded, payload: Buffer.from(decoded.payload) }).toEqual(request);
  });

  test('is what protobufjs reads', () => {
    const { payload, ...rest } = request;
    const wanted = { ...rest, payload: Buffer.from(payload).toString('base64') };
    const found = plain(Request, encoded);
    // protobufjs leaves out fields that are not on the wire.
    expect({ service: '', method: '', payload: '', timeoutNano: 0, ...found }).toEqual({
      ...wanted,
      metadata: wanted.metadata.map((entry) =>
        Object.fromEntries(Object.entries(entry).filter(([, text]) => text !== '')),
      ),
    });
  });

  test('leaves the headroom free', () => {
    const { head, body } = encodeRequest(request, 10);
    expect(Buffer.concat([head.subarray(10), body ?? bytes('')])).toEqual(encoded);
  });
});

const responses: [string, ResponseMessage][] = [
  ['success', { status: undefined, payload: bytes('result') }],
  ['empty success', { status: undefined, payload: bytes('') }],
  [
    'failure',
    {
      status: {
        code: 5,
        message: 'no such container',
        details: [
          { typeUrl: 'type/x', value: bytes('detail') },
          { typeUrl: '', value: bytes('') },
        ],
      },
      payload: bytes(''),
    },
  ],
  ['status OK', { status: { code: 0, message: '', details: [] }, payload: bytes('x') }],
  ['long message', { status: { code: 300, message: 'é'.repeat(40_000), details: [] }, payload: bytes('x') }],
];

describe.each(responses)('response: %s', (_name, response) => {
  const encoded = joinParts(encodeResponse(response, 0));

  test('comes back from its bytes', () => {
    const decoded = decodeResponse(encoded);
    const details = decoded.status?.details.map((any) => ({ ...any, value: Buffer.from(any.value) }));
    expect({
      payload: Buffer.from(decoded.payload),
      status: decoded.status === undefined ? undefined : { ...decoded.status, details },
    }).toEqual(response);
  });

  test('is what protobufjs reads', () => {
    expect(Response.verify(plain(Response, encoded))).toBeNull();
    const { status, payload } = Response.decode(encoded) as unknown as ResponseMessage;
    expect(Buffer.from(payload)).toEqual(response.payload);
    expect(status?.code).toBe(response.status?.code);
    expect(status?.message).toBe(response.status?.message);
    expect(status?.details.map((any) => any.typeUrl)).toEqual(response.status?.details.map((any) => any.typeUrl));
  });
});

test('what protobufjs writes is read, in its own order of fields', () => {
  const written = Request.encode(
    Request.fromObject({
      service: 's',
      method: 'm',
      payload: base64('p'),
      timeoutNano: -1,
      metadata: [{ key: 'a', value: 'b' }],
    }),
  ).finish();
  expect(decodeRequest(Buffer.from(written))).toEqual({
    service: 's',
    method: 'm',
    payload: bytes('p'),
    timeoutNano: -1,
    metadata: [{ key: 'a', value: 'b' }],
  });
});

test('a negative status code is read as the number it is', () => {
  const written = Response.encode(Response.fromObject({ status: { code: -7, message: 'odd' } })).finish();
  expect(decodeResponse(Buffer.from(written)).status).toEqual({ code: -7, message: 'odd', details: [] });
});

test('unknown fields of every wire type are skipped', () => {
  const Extended = protobuf
    .parse(
      `
    syntax = "proto3";
    message Extended { string service = 1; uint64 a = 6; fixed64 b = 7; string c = 8; fixed32 d = 9; string method = 2; bytes e = 1000; }
  `,
    )
    .root.lookupType('Extended');
  const written = Extended.encode(
    Extended.fromObject({
      service: 's',
      a: '18446744073709551615',
      b: 1,
      c: 'text',
      d: 2,
      method: 'm',
      e: base64('bytes'),
    }),
  ).finish();
  expect(decodeRequest(Buffer.from(written))).toMatchObject({ service: 's', method: 'm' });
});

test('a field of the wrong wire type is not taken for the right one', () => {
  // service (1) as a varint, method (2) as bytes.
  expect(decodeRequest(Buffer.from('0805120161', 'hex'))).toMatchObject({ service: '', method: 'a' });
});

test.each([
  ['a length past the end', '0a05616263'],
  ['a length of 2^32', '0a8080808010'],
  ['a cut varint', '2080'],
  ['a varint of eleven bytes', '20ffffffffffffffffffff01'],
  ['a cut fixed64', '3101020304'],
  ['a cut fixed32', '3501'],
  ['a group', '0b'],
  ['field number 0', '02'],
  ['a nested length past the end of its message', '2a020a05616161616161'],
])('%s is an error', (_name, hex) => {
  expect(() => decodeRequest(Buffer.from(hex, 'hex'))).toThrow(Error);
});

test('random bytes are read or refused, and refused by an Error', () => {
  let refused = 0;
  for (let round = 0; round < 5000; round++) {
    const random = Buffer.from(Array.from({ length: round % 40 }, () => Math.floor(Math.random() * 256)));
    try {
      decodeRequest(random);
      decodeResponse(random);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(1000);
});
