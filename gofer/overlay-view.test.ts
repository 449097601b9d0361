import { overlayView } from './overlay-view';
import type { Mounted } from './mounted';

const mount = (point: string, type: string, ...options: string[]): Mounted => ({ point, type, options });
const IMAGE = mount('/run/volumes/7', 'overlay', 'ro', 'lowerdir=/layers/b:/layers/a');
const MOUNTS = [mount('/', 'ext4', 'rw'), IMAGE];

describe('an overlay without an upper', () => {
  test.each<[string, string, readonly Mounted[], string]>([
    ['as a whole', '/run/volumes/7', MOUNTS, ''],
    ['in part', '/run/volumes/7/usr/lib', MOUNTS, 'usr/lib'],
    [
      'with an option for each layer',
      '/run/volumes/7',
      [MOUNTS[0]!, mount('/run/volumes/7', 'overlay', 'lowerdir+=/layers/b', 'lowerdir+=/layers/a')],
      '',
    ],
  ])('is taken apart %s', (_, source, mounts, inside) => {
    expect(overlayView(source, mounts)).toEqual({ layers: ['/layers/b', '/layers/a'], upper: undefined, inside });
  });
});

test('an overlay with an upper is taken apart with it', () => {
  const mounts = [mount('/o', 'overlay', 'lowerdir=/a', 'upperdir=/u', 'workdir=/w', 'volatile')];
  expect(overlayView('/o/etc', mounts)).toEqual({ layers: ['/u', '/a'], upper: '/u', inside: 'etc' });
});

test.each<[string, string, readonly Mounted[]]>([
  ['of another filesystem', '/run/volumes', MOUNTS],
  ['of an overlay with relative layers', '/o', [mount('/o', 'overlay', 'lowerdir=a:b')]],
  ['with something mounted beneath', '/run/volumes/7', [...MOUNTS, mount('/run/volumes/7/dev', 'tmpfs')]],
  ['covered by something else', '/run/volumes/7', [...MOUNTS, mount('/run/volumes/7', 'tmpfs')]],
])('a path %s is left as it is', (_, source, mounts) => {
  expect(overlayView(source, mounts)).toBeUndefined();
});
