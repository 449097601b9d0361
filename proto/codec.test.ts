/** What the codec does with input that is odd, hostile or wrong. The good cases: fixtures.test.ts and reference.test.ts. */
import { contracts } from '../build/proto/contracts';
import { SiltError } from '../errors';
import { codec } from './codec';
import { CgroupV1Metrics, CgroupV2Metrics, DeleteResponse, taskEvents } from './index';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
const kill = codec(contracts.KillRequest);
const update = codec(contracts.UpdateTaskRequest);
const start = taskEvents['/tasks/start'];

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    return error instanceof SiltError ? error.code : String(error);
  }
  return undefined;
}

describe('fields that are not known', () => {
  test.each([
    ['varint', '78 ff01'],
    ['fixed 64', '79 0102030405060708'],
    ['bytes', '7a 03 010203'],
    ['fixed 32', '7d 01020304'],
    ['group with a field and a group inside', '7b 08 01 13 14 7c'],
    ['number above 2^28', 'f8ffffff0f 01'],
  ])('%s', (_name, unknown) => {
    const known = '0a03776562 1007';
    for (const data of [`${unknown} ${known}`, `${known} ${unknown}`]) {
      expect(start.decode(bytes(data))).toStrictEqual({ containerId: 'web', pid: 7 });
    }
  });

  test('in a message inside', () => {
    expect(DeleteResponse.decode(bytes('1a 06 0801 7a02 ffff')).exitedAt).toStrictEqual({ seconds: 1n, nanos: 0 });
  });

  test('a known number with another wire type', () => {
    expect(start.decode(bytes('1202 ffff 1005'))).toStrictEqual({ containerId: '', pid: 5 });
  });
});

describe('bytes that are refused', () => {
  test.each([
    ['the end inside of a tag', '80'],
    ['the end inside of a varint', '10 ff'],
    ['a string longer than the message', '0a 05 7765'],
    ['a length of 2^32 - 1', '0a ffffffff0f 00'],
    ['a length of 2^32 + 1', '0a 8180808010 77'],
    ['field number 0', '00 01'],
    ['a tag of more than 32 bits', '8080808010 01'],
    ['wire type 6', '7e 01'],
    ['wire type 7', '7f 01'],
    ['an end of group without a start', '7c'],
    ['a group without end', '7b 08 01'],
    ['groups a thousand deep', '7b'.repeat(1000) + '7c'.repeat(1000)],
    ['a varint of eleven bytes', '10 80808080808080808080 01'],
    ['a varint of 65 bits', '10 80808080808080808002'],
    ['a string that is not UTF-8', '0a 02 c328'],
  ])('%s', (_name, data) => {
    expect(codeOf(() => start.decode(bytes(data)))).toBe('REQUEST_INVALID');
  });

  test('a message inside that ends in the middle of its field, with more bytes behind', () => {
    expect(codeOf(() => DeleteResponse.decode(bytes('1a 01 08 1007')))).toBe('REQUEST_INVALID');
  });

  test('the message says which type', () => {
    expect(() => start.decode(bytes('0a 05 77'))).toThrow(
      'cannot decode containerd.events.TaskStart: malformed protobuf: 5 bytes wanted, 1 left, at byte 2',
    );
  });

  test('cut anywhere: decoded or refused, never another error', () => {
    const whole = CgroupV1Metrics.encode({
      cpu: { usage: { perCpu: [1n, 2n ** 63n] } },
      network: [{ name: 'eth0', txBytes: 2n ** 40n }],
    });
    const codes = Array.from(whole, (_, length) => codeOf(() => CgroupV1Metrics.decode(whole.subarray(0, length))));
    expect(new Set(codes)).toEqual(new Set([undefined, 'REQUEST_INVALID']));
  });
});

describe('values', () => {
  test('U+FFFD that was really sent is text', () => {
    expect(start.decode(bytes('0a03 efbfbd')).containerId).toBe('\uFFFD');
  });

  test.each([0n, 127n, 128n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n])(
    '%s keeps every bit',
    (value) => {
      const metrics = CgroupV2Metrics.decode(CgroupV2Metrics.encode({ pids: { current: value } }));
      expect(metrics.pids?.current).toBe(value);
    },
  );

  test('numbers are taken for 64 bits while they are exact', () => {
    expect(CgroupV2Metrics.encode({ pids: { current: 300 } })).toEqual(
      CgroupV2Metrics.encode({ pids: { current: 300n } }),
    );
  });

  test('a list of numbers is read packed and unpacked', () => {
    const usage = (list: string) => CgroupV1Metrics.decode(bytes(`1a${list}`)).cpu?.usage?.perCpu;
    expect(usage('06 0a04 2202 0102')).toEqual([1n, 2n]);
    expect(usage('06 0a04 2001 2002')).toEqual([1n, 2n]);
  });

  test('a message that comes twice is merged, a scalar replaced', () => {
    const twice = bytes('1a02 0801 1a02 1005 0801 0802');
    expect(DeleteResponse.decode(twice)).toStrictEqual({ pid: 2, exitStatus: 0, exitedAt: { seconds: 1n, nanos: 5 } });
  });

  test('__proto__ is a key like any other', () => {
    const annotations = update.decode(bytes('1a0e 0a09 5f5f70726f746f5f5f 1201 78')).annotations;
    expect(Object.entries(annotations)).toEqual([['__proto__', 'x']]);
    expect(Object.getPrototypeOf(annotations)).toBe(Object.prototype);
  });

  test('an entry of a map may lack its key or value', () => {
    expect(update.decode(bytes('1a00')).annotations).toEqual({ '': '' });
  });

  test('lengths of one, two and three bytes, in and around a message', () => {
    for (const length of [0, 127, 128, 300, 16_383, 16_384, 70_000]) {
      const resources = { typeUrl: 'x', value: new Uint8Array(length).fill(7) };
      expect(update.decode(update.encode({ resources })).resources).toEqual(resources);
    }
  });

  test('byte fields are copies', () => {
    const data = update.encode({ resources: { typeUrl: 'x', value: new Uint8Array([1, 2]) } });
    const { resources } = update.decode(data);
    data.fill(0);
    expect(resources?.value).toEqual(new Uint8Array([1, 2]));
  });

  test('part of a larger buffer', () => {
    const data = Buffer.concat([Buffer.from([9, 9]), start.encode({ containerId: 'web', pid: 7 }), Buffer.from([9])]);
    expect(start.decode(data.subarray(2, -1))).toStrictEqual({ containerId: 'web', pid: 7 });
  });

  test('undefined is absent, in messages and maps', () => {
    expect(hex(kill.encode({ id: undefined, signal: 9 }))).toBe('1809');
    expect(hex(update.encode({ annotations: { a: undefined } }))).toBe('');
  });

  test('minus zero is written', () => {
    const encoded = CgroupV2Metrics.encode({ cpu: { psi: { some: { avg10: -0 } } } });
    expect(CgroupV2Metrics.decode(encoded).cpu?.psi?.some?.avg10).toBe(-0);
  });
});

describe('values that are refused', () => {
  test.each([
    ['a negative pid', () => start.encode({ pid: -1 })],
    ['a pid of 2^32', () => start.encode({ pid: 2 ** 32 })],
    ['a pid with a fraction', () => start.encode({ pid: 1.5 })],
    ['a number that is not exact', () => CgroupV2Metrics.encode({ pids: { current: 2 ** 53 } })],
    ['a negative counter', () => CgroupV2Metrics.encode({ pids: { current: -1n } })],
    ['a counter of 2^64', () => CgroupV2Metrics.encode({ pids: { current: 2n ** 64n } })],
    ['half a surrogate pair', () => start.encode({ containerId: '\uD800' })],
    ['text for a number', () => start.encode({ pid: '7' as unknown as number })],
    ['text for bytes', () => update.encode({ resources: { value: 'x' as unknown as Uint8Array } })],
    ['a number in a map', () => update.encode({ annotations: { a: 1 as unknown as string } })],
    ['text for a message', () => update.encode({ resources: 'x' as unknown as object })],
  ])('%s', (_name, encode) => {
    expect(codeOf(encode)).toBe('INTERNAL');
  });
});
