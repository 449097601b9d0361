import { formatOverlay2, type OverlayMode, parseOverlay, parseOverlay2 } from './overlay-mode';

describe('--overlay2', () => {
  test.each<[string, OverlayMode]>([
    ['none', { scope: 'none' }],
    ['none:memory', { scope: 'none' }],
    ['root:memory', { scope: 'root', medium: { kind: 'memory' } }],
    ['root:self', { scope: 'root', medium: { kind: 'self' } }],
    ['all:memory,size=2g', { scope: 'all', medium: { kind: 'memory', sizeBytes: 2 ** 31 } }],
    ['all:self,size=1048576', { scope: 'all', medium: { kind: 'self', sizeBytes: 2 ** 20 } }],
    ['root:dir=/a//b/', { scope: 'root', medium: { kind: 'directory', directory: '/a/b/' } }],
    [
      'root:dir=/a b,size=64MiB',
      { scope: 'root', medium: { kind: 'directory', directory: '/a b', sizeBytes: 2 ** 26 } },
    ],
  ])('%s', (text, mode) => {
    expect(parseOverlay2(text)).toEqual(mode);
    expect(parseOverlay2(formatOverlay2(mode))).toEqual(mode);
  });

  test.each<[string, RegExp]>([
    ['', /^must be none, or \{root\|all\}.*; it is ""$/],
    ['root', /^must be none/],
    ['root:disk', /^must be none/],
    ['some:memory', /^must be none/],
    ['root:memory,size=', /^must be none/],
    ['root:memory,size=-1', /^must be none/],
    ['root:memory,size=1m,size=2m', /^must be none/],
    ['root:memory,size=1', /^must have a size from 1m to 8191t/],
    ['root:memory,size=99999999t', /^must have a size from 1m to 8191t/],
    ['root:memory,size=99999999999999999999', /^must have a size/],
    ['root:dir=', /^must have an absolute path behind dir=/],
    ['root:dir=a/b', /^must have an absolute path/],
    ['root:memory\n', /^must be none/],
  ])('%j is refused', (text, message) => {
    expect(parseOverlay2(text)).toMatch(message);
  });
});

test('--overlay is all mounts in memory, or nothing said', () => {
  expect(parseOverlay('true')).toEqual({ scope: 'all', medium: { kind: 'memory' } });
  expect(parseOverlay('false')).toBeUndefined();
  expect(parseOverlay('yes')).toBe('must be true or false; it is "yes"');
});
