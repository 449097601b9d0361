import {
  bodyOf,
  completeTypes,
  decodeMessage,
  encodeBody,
  encodeMessage,
  type Message,
  Reader,
  type Value,
} from './wire';

function written(signature: string, values: readonly Value[]): string {
  return encodeBody(signature, values).toString('hex');
}

test.each<[string, readonly Value[], string]>([
  ['yu', [7, 258], '07000000' + '02010000'],
  ['s', ['a-b'], '03000000' + '612d6200'],
  ['g', ['a(sv)'], '05' + '6128737629' + '00'],
  ['bt', [true, 2n ** 64n - 1n], '01000000' + '00000000' + 'ffffffffffffffff'],
  ['au', [[1, 2]], '08000000' + '01000000' + '02000000'],
  // The padding before the first struct is not in the length.
  ['a(y)', [[[9]]], '01000000' + '00000000' + '09'],
  ['ay', [Buffer.from([5, 6])], '02000000' + '0506'],
  ['v', [{ signature: 'u', value: 3 }], '01' + '75' + '00' + '00' + '03000000'],
])('%s is laid out as the specification says', (signature, values, hex) => {
  expect(written(signature, values)).toBe(hex);
});

test('what is written is read', () => {
  const signature = 'ssa(sv)a(sa(sv))';
  const properties = [
    ['PIDs', { signature: 'au', value: [42] }],
    ['MemoryMax', { signature: 't', value: 1n << 40n }],
  ];
  const values: Value[] = ['x.scope', 'replace', properties, []];
  expect(new Reader(encodeBody(signature, values)).values(signature)).toEqual(values);
});

test('complete types', () => {
  expect(completeTypes('sa(sv)a{s(iu)}aay')).toEqual(['s', 'a(sv)', 'a{s(iu)}', 'aay']);
  expect(() => completeTypes('z')).toThrow(RangeError);
});

describe('a message', () => {
  const message: Message = {
    type: 1,
    serial: 7,
    path: '/org/freedesktop/systemd1',
    interface: 'org.freedesktop.systemd1.Manager',
    member: 'StopUnit',
    destination: 'org.freedesktop.systemd1',
    signature: 'ss',
    body: encodeBody('ss', ['x.scope', 'replace']),
  };

  test('is whole or not there, however it arrives', () => {
    const bytes = encodeMessage(message);
    for (let size = 0; size < bytes.length; size++) expect(decodeMessage(bytes.subarray(0, size))).toBeUndefined();
    const two = Buffer.concat([bytes, bytes]);
    expect(decodeMessage(two)).toEqual({ message: expect.objectContaining(message) as unknown, size: bytes.length });
    expect(bodyOf(decodeMessage(two)!.message)).toEqual(['x.scope', 'replace']);
  });

  test('of another byte order is refused', () => {
    const bytes = encodeMessage(message);
    bytes[0] = 'B'.charCodeAt(0);
    expect(() => decodeMessage(bytes)).toThrow(expect.objectContaining({ code: 'SYSTEMD_FAILED' }) as Error);
  });
});
