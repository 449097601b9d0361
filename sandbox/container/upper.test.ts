import { refusal } from '../../errors/testing/refusal';
import type { EngineRoot } from '../../gofer';
import type { Spec } from '../../oci';
import { parseConfig } from '../config/config';
import { needsCover, planUpper, type UpperPlan, upperNames } from './upper';

const containerd: EngineRoot = {
  layers: ['/snapshots/5/fs', '/snapshots/1/fs'],
  own: { upper: '/snapshots/5/fs', work: '/snapshots/5/work' },
};
const directory: EngineRoot = { layers: ['/bundle/rootfs'], own: { upper: '/bundle/rootfs', work: undefined } };
const view: EngineRoot = { layers: ['/snapshots/1/fs'], own: undefined };

function plan(overlay: string, rootfs = containerd, limit?: number): UpperPlan {
  const spec = { ociVersion: '1.2.0', linux: { resources: { memory: { limit } } } } as Spec;
  return planUpper({ id: 'web', rootfs, spec }, parseConfig(`overlay2 = "${overlay}"\nupper-size = "10%"`, 'test'));
}

describe('an upper in memory', () => {
  test.each<[string, number | undefined, string]>([
    ['root:memory', undefined, '10%'],
    ['root:memory', -1, '10%'],
    ['root:memory', 2 ** 30, `${2 ** 29}`],
    ['root:memory', 1000, '65536'],
    ['all:memory,size=2g', 2 ** 30, `${2 ** 31}`],
  ])('%s with a memory limit of %p has the size %s', (overlay, limit, size) => {
    expect(plan(overlay, containerd, limit)).toEqual({ kind: 'memory', size });
  });
});

describe('without an overlay of silt’s', () => {
  test('the engine’s upper is written to', () => {
    const upper = plan('none');
    expect(upper).toEqual({ kind: 'engine', directory: '/snapshots/5', fs: 'fs', work: 'work' });
    expect(upperNames(upper)).toEqual({ fs: 'fs', work: 'work' });
  });

  test('a root filesystem that is no overlay is written to itself', () => {
    expect(plan('none', directory)).toEqual({ kind: 'none' });
    expect(upperNames({ kind: 'none' })).toBeNull();
  });

  test('what the engine gave only to be read is not written to', () => {
    expect(plan('none', view)).toEqual({ kind: 'memory', size: '10%' });
  });

  test('an upper that does not lie beside its work directory is refused', () => {
    const own = { upper: '/a/fs', work: '/b/work' };
    expect(refusal(() => plan('none', { layers: ['/a/fs', '/c'], own }))).toMatchObject({
      code: 'ROOTFS_INVALID',
      message:
        "overlay2=none writes to the engine's own upper, which must lie beside its work directory; they are /a/fs and /b/work; choose another overlay2",
    });
  });
});

describe('a layer that hides filestores', () => {
  const layers = ['/overlay/upper', '/overlay/lower'];
  const mounted = { layers, own: { upper: '/bundle/rootfs', work: undefined, changes: '/overlay/upper' } };
  test.each<[string, EngineRoot, string, boolean]>([
    ['an overlay that the engine has silt mount', containerd, 'root:memory', false],
    ['that with a filestore in it', containerd, 'root:self', true],
    ['a directory', directory, 'root:memory', true],
    ['an overlay mounted on a directory', mounted, 'root:memory', true],
    ['that, with filestores elsewhere', mounted, 'root:dir=/filestores', true],
    ['that, written to itself', mounted, 'none', false],
    ['a read-only directory', view, 'root:memory', true],
    ['a read-only overlay', { layers, own: undefined }, 'root:memory', false],
  ])('%s has one or not', (_what, rootfs, overlay, covered) => {
    expect(needsCover(plan(overlay, rootfs), rootfs)).toBe(covered);
  });
});
