import { release } from 'node:os';
import { isAtLeast, kernelVersion, parseVersion } from './kernel-version';

test.each([
  ['6.18.44-fc-v769', [6, 18]],
  ['6.1.0-50-cloud-amd64', [6, 1]],
  ['Version: 4.1.1', [4, 1]],
  ['none', [0, 0]],
])('%s is version %j', (text, version) => {
  expect(parseVersion(text)).toEqual(version);
});

test.each([
  [[6, 15], true],
  [[6, 18], true],
  [[7, 0], true],
  [[6, 14], false],
  [[5, 19], false],
] as const)('%j is at least 6.15: %p', (version, expected) => {
  expect(isAtLeast(version, [6, 15])).toBe(expected);
});

test('tests can pretend an older kernel, never a newer one', () => {
  const running = parseVersion(release());
  expect(kernelVersion({})).toEqual(running);
  expect(kernelVersion({ SILT_TEST_KERNEL_VERSION: '4.4' })).toEqual([4, 4]);
  expect(kernelVersion({ SILT_TEST_KERNEL_VERSION: '999.0' })).toEqual(running);
});
