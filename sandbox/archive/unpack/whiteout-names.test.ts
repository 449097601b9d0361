import { byteStringOf } from '../codec/bytes';
import { WhiteoutNames } from './whiteout-names';

test('names are known while there is room for them, then any may be one', () => {
  const whiteouts = new WhiteoutNames(250);
  for (const name of ['a', 'b/c']) whiteouts.add(byteStringOf(name));
  expect(['a', 'b/c', 'b', 'd'].map((name) => whiteouts.mayHave(byteStringOf(name)))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  whiteouts.add(byteStringOf('d'));
  expect(whiteouts.mayHave(byteStringOf('e'))).toBe(true);
});

test('a few thousand are all known, a million are not all kept', () => {
  const whiteouts = new WhiteoutNames();
  const add = (from: number, to: number): void => {
    for (let i = from; i < to; i++) whiteouts.add(byteStringOf(`usr/share/${i}`));
  };
  add(0, 10_000);
  expect(whiteouts.mayHave(byteStringOf('usr/share/10000'))).toBe(false);
  add(10_000, 1_000_000);
  expect(whiteouts.mayHave(byteStringOf('usr/share/1000000'))).toBe(true);
});
