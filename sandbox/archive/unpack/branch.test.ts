import type { ByteString } from '../codec/bytes';
import { Branch } from './branch';

const path = (text: string): ByteString => text as ByteString;
const names = (branch: Branch): string[] => [...branch.below.keys()].sort();

describe('branches of open directories', () => {
  test('a directory is known to all above it while it is open', () => {
    const root = Branch.root();
    const a = root.open(path('a'));
    const c = root.open(path('a/b/c'));
    root.open(path('a/d'));
    expect([names(root), names(a), names(c)]).toEqual([['a'], ['b', 'd'], []]);
    c.close();
    expect([names(root), names(a)]).toEqual([['a'], ['d']]);
  });

  test('what is open below one that is closed stays known', () => {
    const root = Branch.root();
    const a = root.open(path('a'));
    const b = a.open(path('b'));
    a.close();
    expect(names(root)).toEqual(['a']);
    expect(names(root.open(path('a')))).toEqual(['b']);
    a.close();
    b.close();
    expect(names(root)).toEqual([]);
  });

  test('a directory that was opened again is known again', () => {
    const root = Branch.root();
    root.open(path('a/b')).close();
    const again = root.open(path('a/b'));
    expect(names(root)).toEqual(['a']);
    again.close();
    expect(names(root)).toEqual([]);
  });
});
