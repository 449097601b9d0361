import { annotatedProperties, parseVariant } from './annotations';

test.each<[string, string, unknown]>([
  ["'a b'", 's', 'a b'],
  ['"it\'s"', 's', "it's"],
  [String.raw`'a\'b'`, 's', "a'b"],
  ['true', 'b', true],
  ['5', 'i', 5],
  ['-0x10', 'i', -16],
  ['0.5', 'd', 0.5],
  ['uint64 18446744073709551615', 't', 2n ** 64n - 1n],
  ['@q 7', 'q', 7],
  ["['a', 'b']", 'as', ['a', 'b']],
  ['[uint32 1,2 ]', 'au', [1, 2]],
  ['@as []', 'as', []],
  ['[[1], [2, 3]]', 'aai', [[1], [2, 3]]],
  ["objectpath '/a'", 'o', '/a'],
])('the GVariant text %s', (text, signature, value) => {
  expect(parseVariant(text)).toEqual({ signature, value });
});

test.each([
  '',
  'word',
  '[1',
  '[]',
  '[1, true]',
  '1 2',
  'uint32 -1',
  'byte 256',
  "int32 'a'",
  "'open",
  '@as [1]',
  'boolean 1',
])('%j is none', (text) => {
  expect(() => parseVariant(text)).toThrow(Error);
});

test('annotations become properties, seconds become microseconds, others are left alone', () => {
  const annotations = {
    'org.systemd.property.CollectMode': "'inactive-or-failed'",
    'org.systemd.property.TimeoutStopUSec': 'uint64 5',
    'org.systemd.property.RuntimeMaxSec': '1.5',
    'com.example': 'x',
  };
  expect(annotatedProperties(annotations)).toEqual([
    ['CollectMode', { signature: 's', value: 'inactive-or-failed' }],
    ['TimeoutStopUSec', { signature: 't', value: 5n }],
    ['RuntimeMaxUSec', { signature: 't', value: 1_500_000n }],
  ]);
});

test.each([
  ['org.systemd.property.', '1'],
  ['org.systemd.property.A-B', '1'],
  ['org.systemd.property.Slice', 'word'],
  ['org.systemd.property.TimeoutStopSec', "'5'"],
])('%s: %s is refused by name', (key, value) => {
  expect(() => annotatedProperties({ [key]: value })).toThrow(
    expect.objectContaining({ code: 'SPEC_INVALID', message: expect.stringContaining(key) as string }) as Error,
  );
});
