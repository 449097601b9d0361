import { AddressSpace } from './address-space';

const P = 4096;
const space = (): AddressSpace =>
  new AddressSpace([
    { start: 20 * P, end: 30 * P, offset: 4 * P },
    { start: 10 * P, end: 14 * P, offset: 0 },
  ]);

test('what is missing comes in order, and in parts of the size that is asked for', () => {
  expect(space().first(2 * P)).toEqual({ start: 10 * P, end: 12 * P, offset: 0 });
  expect(space().first(100 * P)).toEqual({ start: 10 * P, end: 14 * P, offset: 0 });
  expect(new AddressSpace([]).first(P)).toBeUndefined();
});

test('around an address is what is missing of the part that it is in', () => {
  expect(space().around(25 * P + 7, 8 * P)).toEqual({ start: 24 * P, end: 30 * P, offset: 8 * P });
  expect(space().around(10 * P, 4 * P)).toEqual({ start: 10 * P, end: 12 * P, offset: 0 });
  expect(space().around(14 * P, 4 * P)).toBeUndefined();
  expect(space().around(9 * P, 4 * P)).toBeUndefined();
});

test('what has been brought or given up is missing no more', () => {
  const one = space();
  one.drop(12 * P, 22 * P);
  expect(one.pieces).toEqual([
    { start: 10 * P, end: 12 * P, offset: 0 },
    { start: 22 * P, end: 30 * P, offset: 6 * P },
  ]);
  one.drop(25 * P, 26 * P);
  expect(one.pieces.slice(1)).toEqual([
    { start: 22 * P, end: 25 * P, offset: 6 * P },
    { start: 26 * P, end: 30 * P, offset: 10 * P },
  ]);
  one.drop(0, 100 * P);
  expect(one.isComplete).toBe(true);
});

test('what is moved is missing where it is now, in place of what was there', () => {
  const one = space();
  one.move(11 * P, 28 * P, 2 * P);
  expect(one.pieces).toEqual([
    { start: 10 * P, end: 11 * P, offset: 0 },
    { start: 13 * P, end: 14 * P, offset: 3 * P },
    { start: 20 * P, end: 28 * P, offset: 4 * P },
    { start: 28 * P, end: 30 * P, offset: P },
  ]);
});

test('a child has its own', () => {
  const parent = space();
  const child = parent.copy();
  parent.drop(0, 100 * P);
  expect(child.pieces).toHaveLength(2);
});
