import { type IdRange, mapFileText, toHost } from './id-map';

const RANGES: readonly IdRange[] = [
  { containerID: 0, hostID: 100_000, size: 1000 },
  { containerID: 5000, hostID: 7, size: 2 },
];

test.each([
  [0, 100_000],
  [999, 100_999],
  [1000, undefined],
  [4999, undefined],
  [5000, 7],
  [5001, 8],
  [5002, undefined],
  [-1, undefined],
  [Number.NaN, undefined],
])('the container’s id %d is the host’s %p', (id, host) => {
  expect(toHost(RANGES, id)).toBe(host);
});

test('no ranges have no ids', () => {
  expect(toHost([], 0)).toBeUndefined();
});

test('a map file has a line per range: inside, outside, size', () => {
  expect(mapFileText(RANGES)).toBe('0 100000 1000\n5000 7 2\n');
});
