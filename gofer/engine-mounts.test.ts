import { refusal } from '../errors/testing/refusal';
import { type EngineMount, type EngineRoot, takeApart } from './engine-mounts';

const overlay = (...options: string[]): EngineMount => ({ type: 'overlay', source: 'overlay', options });
const rootOf = (...options: string[]): EngineRoot => takeApart([overlay(...options)], 'rootfs', '/bundle');
const layersOf = (...options: string[]): string[] => rootOf(...options).layers as string[];

describe('without a mount the root filesystem is what the spec says', () => {
  test.each([
    ['rootfs', '/bundle/rootfs'],
    ['../images/root', '/images/root'],
    ['/images/one', '/images/one'],
    [undefined, '/bundle/rootfs'],
  ])('%p is %s', (rootPath, layer) => {
    expect(takeApart([], rootPath, '/bundle')).toEqual({ layers: [layer], own: { upper: layer, work: undefined } });
  });
});

describe('a root filesystem that is an overlay of its engine', () => {
  const at = (options: string[], type = 'overlay') =>
    takeApart([], '/docker/merged', '/bundle', [{ point: '/docker/merged', type, options }]);
  const own = { upper: '/docker/merged', work: undefined };

  test('is taken apart, and written to as a whole', () => {
    const options = ['rw', 'lowerdir=/l/B:/l/A', 'upperdir=/docker/diff', 'workdir=/docker/work', 'index=off'];
    const changes = '/docker/diff';
    expect(at(options)).toEqual({ layers: [changes, '/l/B', '/l/A'], own: { ...own, changes } });
  });

  test('has an option per layer when it was mounted by the newer calls', () => {
    expect(at(['lowerdir+=/l/B', 'lowerdir+=/l/A:x', 'upperdir=/u']).layers).toEqual(['/u', '/l/B', '/l/A:x']);
  });

  test.each([
    ['with relative layers', ['lowerdir=l/B:l/A', 'upperdir=/u'], 'overlay'],
    ['of another type', ['lowerdir=/l/B'], 'fuse.fuse-overlayfs'],
  ])('%s stays whole', (_, options, type) => {
    expect(at(options, type)).toEqual({ layers: ['/docker/merged'], own });
  });
});

describe('an overlay', () => {
  const SNAPSHOTS = '/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots';

  test('of containerd is its upper, then its lowers, the topmost first', () => {
    const layers = layersOf(
      'index=off',
      'userxattr',
      `workdir=${SNAPSHOTS}/5/work`,
      `upperdir=${SNAPSHOTS}/5/fs`,
      `lowerdir=${SNAPSHOTS}/4/fs:${SNAPSHOTS}/1/fs`,
    );
    expect(layers).toEqual([5, 4, 1].map((n) => `${SNAPSHOTS}/${n}/fs`));
  });

  test('says which directories take the writes of the container', () => {
    const { own } = rootOf('workdir=/s/1\\:/work', 'upperdir=/s/1\\:/fs', 'lowerdir=/a');
    expect(own).toEqual({ upper: '/s/1:/fs', work: '/s/1:/work' });
  });

  test('of a read-only view has lowers only', () => {
    expect(rootOf('ro', 'lowerdir=/b:/a')).toEqual({ layers: ['/b', '/a'], own: undefined });
  });

  test('has colons and backslashes of names escaped', () => {
    expect(layersOf('upperdir=/up\\:per', 'lowerdir=/a\\:b:/c\\\\d:/e\\\\\\:f')).toEqual([
      '/up:per',
      '/a:b',
      '/c\\d',
      '/e\\:f',
    ]);
  });

  test('has spaces and equals signs of names as they are', () => {
    expect(layersOf('lowerdir=/a b=c:/d,e')).toEqual(['/a b=c', '/d,e']);
  });

  test.each([
    [
      'without lowerdir',
      ['upperdir=/u', 'workdir=/w'],
      "the engine's overlay mount has no lowerdir: upperdir=/u,workdir=/w",
    ],
    ['with an empty lowerdir', ['lowerdir='], "the engine's overlay mount has no lowerdir: lowerdir="],
    ['with a relative lower', ['lowerdir=/a:b/fs'], "layer b/fs of the engine's overlay mount is no absolute path"],
    [
      'with a relative upper',
      ['upperdir=up', 'lowerdir=/a'],
      "layer up of the engine's overlay mount is no absolute path",
    ],
  ])('%s is refused', (_, options, message) => {
    expect(refusal(() => layersOf(...options))).toMatchObject({ code: 'ROOTFS_INVALID', message });
  });
});

describe('a bind mount is one layer', () => {
  test.each<[string, EngineMount]>([
    ['by its type', { type: 'bind', source: '/snapshots/7', options: ['ro'] }],
    ['by the option bind', { type: 'none', source: '/snapshots/7', options: ['bind', 'rw'] }],
    ['by the option rbind', { type: '', source: '/snapshots/7', options: ['rbind', 'rw'] }],
  ])('%s', (_, mount) => {
    const own = mount.options.includes('ro') ? undefined : { upper: '/snapshots/7', work: undefined };
    expect(takeApart([mount], 'rootfs', '/bundle')).toEqual({ layers: ['/snapshots/7'], own });
  });
});

test('a mount of any other type is refused by name', () => {
  const erofs = { type: 'erofs', source: '/images/layer.erofs', options: ['ro', 'loop'] };
  expect(refusal(() => takeApart([erofs], 'rootfs', '/bundle'))).toEqual({
    code: 'ROOTFS_INVALID',
    message:
      'cannot use a root filesystem of type erofs from /images/layer.erofs; use a snapshotter that gives overlay or bind mounts, such as overlayfs or native',
    details: {},
  });
});

test('several mounts are refused with their types', () => {
  const mounts = [{ type: 'erofs', source: '/a', options: [] }, overlay('lowerdir=/b')];
  expect(refusal(() => takeApart(mounts, 'rootfs', '/bundle'))).toEqual({
    code: 'ROOTFS_INVALID',
    message:
      'cannot use a root filesystem of 2 mounts (erofs, overlay); use a snapshotter that gives one, such as overlayfs',
    details: {},
  });
});
