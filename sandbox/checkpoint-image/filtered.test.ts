import { threadsWithLess } from './filtered';
import { imageOf, message, numbers } from './image.fixture';

/** Process 1 with threads 1 and 2, process 5 with one thread; two filters, the second upon the first. */
const tree = imageOf([...numbers(1, [1n]), ...numbers(5, [1n, 2n])], [...numbers(1, [5n]), ...numbers(5, [5n])]);
const filters = (flags: bigint): Buffer =>
  imageOf([message(1, numbers(3, [flags])), message(1, [...numbers(2, [0n]), ...numbers(3, [flags])])]);
const thread = (mode: bigint, filter = 1n): Buffer =>
  imageOf([message(5, [...numbers(11, [mode]), ...numbers(12, [filter])])]);
const dead = imageOf([message(3, numbers(1, [2n]))]);

function less(threads: readonly (readonly [number, Buffer])[], { flags = 0n, wanted = 2 } = {}): number[] {
  return threadsWithLess(wanted, { tree, seccomp: filters(flags), cores: new Map(threads) });
}

test('every thread with its filters', () => {
  expect(less([[1, thread(2n)], [2, thread(2n)], [5, thread(2n)]])).toEqual([]); // prettier-ignore
  expect(less([[1, thread(2n)], [2, thread(2n, 0n)], [5, thread(2n)]])).toEqual([2]); // prettier-ignore
  expect(less([[1, thread(2n)], [2, thread(2n, 0n)], [5, thread(2n)]], { wanted: 1 })).toEqual([]); // prettier-ignore
});

test('threads whose first one gives its filters to all', () => {
  const threads = [[1, thread(2n)], [2, thread(0n)], [5, thread(2n)]] as const; // prettier-ignore
  expect(less(threads, { flags: 1n })).toEqual([]);
  expect(less(threads)).toEqual([2]);
});

test('a first thread or a process without', () => {
  expect(less([[1, thread(0n)], [2, thread(2n)], [5, thread(0n)]], { flags: 1n })).toEqual([1, 5]); // prettier-ignore
});

test('a filter that is not there is none', () => {
  expect(less([[1, thread(2n, 7n)], [2, thread(2n)], [5, thread(2n)]])).toEqual([1]); // prettier-ignore
  const cores = new Map([[1, thread(2n)], [2, thread(2n)], [5, thread(2n)]]); // prettier-ignore
  expect(threadsWithLess(1, { tree, seccomp: undefined, cores })).toEqual([1, 2, 5]);
});

test('filters in a ring are none', () => {
  const ring = imageOf([message(1, numbers(2, [1n])), message(1, numbers(2, [0n]))]);
  expect(threadsWithLess(1, { tree, seccomp: ring, cores: new Map([[1, thread(2n)]]) })).toEqual([1, 2, 5]);
});

test('a zombie needs none', () => {
  expect(less([[1, thread(2n)], [2, thread(2n)], [5, dead]])).toEqual([]); // prettier-ignore
});
