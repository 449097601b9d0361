import { type CgroupDriver, expandSlice, locateCgroup, parseCgroupsPath } from './location';
import { recordedHierarchies, type RecordedHost } from './recorded-hosts';
import { type Refusal, refusal } from './refusal';

/** Directory of the memory controller for this path on this host. */
function memoryDirectory(host: RecordedHost, cgroupsPath: string | undefined): string | undefined {
  const cgroup = locateCgroup({ cgroupsPath, id: 'box', hierarchies: recordedHierarchies(host) });
  return cgroup.directories.find(({ controllers }) => controllers.includes('memory'))?.path;
}

describe('where a container’s cgroup is', () => {
  test.each<[RecordedHost, string | undefined, string]>([
    ['hybrid', '/default/x', '/sys/fs/cgroup/memory/default/x'],
    ['hybrid', 'default/x', '/sys/fs/cgroup/memory/services/engine/default/x'],
    ['hybrid', undefined, '/sys/fs/cgroup/memory/services/engine/box'],
    ['hybrid', '', '/sys/fs/cgroup/memory/services/engine/box'],
    ['hybrid', '//default/./x/', '/sys/fs/cgroup/memory/default/x'],
    ['hybrid', '/../../etc/x', '/sys/fs/cgroup/memory/etc/x'],
    ['hybrid', '../../x', '/sys/fs/cgroup/memory/services/engine/x'],
    ['v1', 'x', '/sys/fs/cgroup/memory/system.slice/containerd.service/x'],
    ['v2', '/default/x', '/sys/fs/cgroup/default/x'],
    // v2: a sibling of silt's own cgroup, which has processes and so can have no children with controllers.
    ['v2', 'x', '/sys/fs/cgroup/system.slice/x'],
    ['v2', undefined, '/sys/fs/cgroup/system.slice/box'],
    [
      'v2',
      'kubepods-burstable-pod1.slice:cri-containerd:ab',
      '/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-ab.scope',
    ],
    ['v1', ':docker:ab', '/sys/fs/cgroup/memory/system.slice/docker-ab.scope'],
    ['v1', '-.slice::ab', '/sys/fs/cgroup/memory/ab.scope'],
    ['v1', 'a.slice:x:a-b.slice', '/sys/fs/cgroup/memory/a.slice/a-b.slice'],
  ])('%s: %p', (host, cgroupsPath, expected) => {
    expect(memoryDirectory(host, cgroupsPath)).toBe(expected);
  });

  test('one directory in every hierarchy, relative to silt’s own cgroup in that one', () => {
    const { mode, directories } = locateCgroup({
      cgroupsPath: 'x',
      id: 'box',
      hierarchies: recordedHierarchies('hybrid'),
    });
    expect(mode).toBe('hybrid');
    expect(directories.map(({ path }) => path.slice('/sys/fs/cgroup/'.length))).toEqual([
      'cpu/x',
      'cpuacct/x',
      'cpuset/x',
      'memory/services/engine/x',
      'devices/x',
      'freezer/x',
      'blkio/x',
      'pids/x',
      'systemd/x',
      'unified/x',
    ]);
  });

  test.each([
    '/',
    '//',
    '/..',
    '.',
    './',
    'a\nb',
    'a\0b',
    'x.slice:y:',
    'noslice:y:z',
    '-a.slice:y:z',
    'a--b.slice:y:z',
    '.slice:y:z',
  ])('refused: %j', (cgroupsPath) => {
    expect(refusal(() => memoryDirectory('v1', cgroupsPath))).toMatchObject({
      code: 'SPEC_INVALID',
      details: { jsonPath: '$.linux.cgroupsPath' },
    });
  });

  test.each(['', '.', '..', 'a/b'])('id %j cannot stand in for a path', (id) => {
    expect(refusal(() => parseCgroupsPath(undefined, id))).toMatchObject({ code: 'REQUEST_INVALID' });
  });

  test.each(['v1', 'hybrid', 'v2'] as const)(
    'a unit of systemd’s where it is asked for, or where systemd runs and the path has its form: %s',
    (host) => {
      const place = (driver: CgroupDriver, cgroupsPath: string | undefined, systemdRuns = true): object | undefined =>
        locateCgroup({ cgroupsPath, id: 'box', hierarchies: recordedHierarchies(host), driver, systemdRuns }).unit;
      const form = 'kubepods-pod1.slice:cri-containerd:abc';
      const unit = { slice: 'kubepods-pod1.slice', name: 'cri-containerd-abc.scope' };
      expect(place('systemd', form)).toEqual(unit);
      expect(place('systemd', undefined)).toEqual({ slice: 'system.slice', name: 'silt-box.scope' });
      expect(place('auto', form)).toEqual(unit);
      expect([place('auto', form, false), place('auto', '/a'), place('cgroupfs', form)]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
    },
  );

  test('systemd as driver is refused where it cannot be, and a malformed path is still told first', () => {
    const locate = (cgroupsPath: string, systemdRuns: boolean): Refusal =>
      refusal(() => locateCgroup({ cgroupsPath, id: 'box', hierarchies: recordedHierarchies('v2'), driver: 'systemd', systemdRuns })); // prettier-ignore
    expect(locate('a.slice:b:c', false)).toMatchObject({ code: 'HOST_UNSUPPORTED', message: expect.stringContaining('systemd not running on this host') as string }); // prettier-ignore
    expect(locate('/a', true)).toMatchObject({ code: 'SPEC_INVALID', message: expect.stringContaining('slice:prefix:name') as string }); // prettier-ignore
    expect(locate('a.slice:b:', false)).toMatchObject({ code: 'SPEC_INVALID' });
  });

  test('systemd’s form is told from a path', () => {
    expect(parseCgroupsPath('a.slice:b:c', 'box')).toEqual({
      kind: 'systemd',
      slice: 'a.slice',
      prefix: 'b',
      name: 'c',
    });
    expect(parseCgroupsPath('/a.slice:b:c', 'box')).toEqual({ kind: 'absolute', path: '/a.slice:b:c' });
    expect(parseCgroupsPath('a:b', 'box')).toEqual({ kind: 'relative', path: 'a:b' });
  });

  test('a relative path needs silt’s own cgroup to be visible', () => {
    const hierarchies = recordedHierarchies('v2');
    const hidden = { ...hierarchies, list: hierarchies.list.map((hierarchy) => ({ ...hierarchy, own: undefined })) };
    expect(refusal(() => locateCgroup({ cgroupsPath: 'x', id: 'box', hierarchies: hidden }))).toMatchObject({
      code: 'HOST_UNSUPPORTED',
    });
    expect(locateCgroup({ cgroupsPath: '/x', id: 'box', hierarchies: hidden }).directories[0]?.path).toBe(
      '/sys/fs/cgroup/x',
    );
  });

  test('slices lie in the slices that their names begin with', () => {
    expect(expandSlice('-.slice')).toBe('');
    expect(expandSlice('a-b-c.slice')).toBe('/a.slice/a-b.slice/a-b-c.slice');
  });
});
