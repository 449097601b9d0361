import { imageOf, message, numbers } from './image.fixture';
import { processesIn, threadsWithoutCore } from './process-tree';

const tree = imageOf(
  [...numbers(1, [1n]), ...numbers(5, [1n, 2n])],
  [...numbers(1, [5n]), ...numbers(5, [0xffffffffn])],
);
const alive = imageOf([message(5, numbers(11, [0n]))]);
const dead = imageOf([message(3, numbers(1, [2n]))]);

test('every thread needs an image, of a zombie only the first', () => {
  const missing = (cores: readonly (readonly [number, Buffer])[]): number[] => threadsWithoutCore(tree, new Map(cores));
  expect(missing([[1, alive], [2, alive], [5, dead]])).toEqual([]); // prettier-ignore
  expect(missing([[1, alive], [2, alive], [5, alive]])).toEqual([-1]); // prettier-ignore
  expect(missing([[1, alive], [5, dead]])).toEqual([2]); // prettier-ignore
  expect(missing([[1, imageOf()]])).toEqual([2, 5, -1]);
});

test.each([
  ['of more than 32 bits, which CRIU would cut down', numbers(1, [(1n << 32n) + 1n])],
  ['that is 0', numbers(1, [0n])],
  ['that is there twice', numbers(1, [1n, 2n])],
  ['that is missing', []],
])('an id %s is none', (_, item) => {
  expect(processesIn(imageOf(item))).toEqual([{ pid: -1, threads: [-1] }]);
});
