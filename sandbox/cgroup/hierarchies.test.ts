import { parseHierarchies, readHierarchies, type HierarchySources } from './hierarchies';
import { recordedHierarchies, recordedTexts } from './recorded-hosts';
import { refusal } from './refusal';

const parse = (sources: Partial<HierarchySources>): ReturnType<typeof parseHierarchies> =>
  parseHierarchies({ mountinfo: '', selfCgroup: '', readControllers: () => '', ...sources });

describe('hierarchies of a host', () => {
  test('hybrid: each v1 controller by itself, the unified hierarchy last and without controllers', () => {
    const { mode, list } = recordedHierarchies('hybrid');
    expect(mode).toBe('hybrid');
    expect(
      list.map(({ mountPoint, controllers }) => [mountPoint.slice('/sys/fs/cgroup/'.length), ...controllers]),
    ).toEqual([
      ['cpu', 'cpu'],
      ['cpuacct', 'cpuacct'],
      ['cpuset', 'cpuset'],
      ['memory', 'memory'],
      ['devices', 'devices'],
      ['freezer', 'freezer'],
      ['blkio', 'blkio'],
      ['pids', 'pids'],
      ['systemd', 'name=systemd'],
      ['unified'],
    ]);
    expect(list.find(({ controllers }) => controllers.includes('memory'))?.own).toBe('/services/engine');
    expect(list.at(-1)).toEqual({ version: 2, mountPoint: '/sys/fs/cgroup/unified', controllers: [], own: '/' });
  });

  test('v1: controllers that share a hierarchy, options that are no controllers', () => {
    const { mode, list } = recordedHierarchies('v1');
    expect(mode).toBe('v1');
    expect(list.map(({ controllers }) => controllers.join())).toEqual([
      'name=systemd',
      'cpu,cpuacct',
      'memory',
      'cpuset',
      'devices',
      'freezer',
      'blkio',
      'pids',
      'hugetlb',
      'net_cls,net_prio',
      'rdma',
    ]);
    expect(list.every(({ version }) => version === 1)).toBe(true);
  });

  test('v2: the listed controllers, and the two that v2 has without listing them', () => {
    expect(recordedHierarchies('v2')).toEqual({
      mode: 'v2',
      list: [
        {
          version: 2,
          mountPoint: '/sys/fs/cgroup',
          controllers: ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids', 'rdma', 'misc', 'devices', 'freezer'],
          own: '/system.slice/containerd.service',
        },
      ],
    });
  });

  test('a lone v1 controller beneath a v2 mount does not make the host hybrid', () => {
    const { mountinfo, selfCgroup } = recordedTexts('v2');
    const stray = '99 30 0:50 / /sys/fs/cgroup/net_cls rw - cgroup net_cls rw,net_cls\n';
    const { mode, list } = parse({ mountinfo: mountinfo + stray, selfCgroup: `1:net_cls:/\n${selfCgroup}` });
    expect(mode).toBe('v2');
    expect(list).toHaveLength(1);
  });

  test('inside a container silt’s own cgroup counts from the part of the hierarchy that is mounted', () => {
    const mountinfo = '5 4 0:32 /docker/ab ROOT/memory rw - cgroup cgroup rw,memory\n'.replace(
      'ROOT',
      '/sys/fs/cgroup',
    );
    const own = (selfCgroup: string): string | undefined => parse({ mountinfo, selfCgroup }).list[0]?.own;
    expect(own('4:memory:/docker/ab\n')).toBe('/');
    expect(own('4:memory:/docker/ab/inner\n')).toBe('/inner');
    expect(own('4:memory:/elsewhere\n')).toBeUndefined();
    expect(own('4:memory:/../sibling\n')).toBeUndefined();
  });

  test('a second mount of the same controller elsewhere is not used, whichever comes first', () => {
    const mountinfo =
      '5 4 0:32 / /var/lib/engine/cgroup/memory rw - cgroup cgroup rw,memory\n6 4 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n';
    const { list } = parse({ mountinfo, selfCgroup: '4:memory:/\n' });
    expect(list.map(({ mountPoint }) => mountPoint)).toEqual(['/sys/fs/cgroup/memory']);
  });

  test('escaped mount points and cgroup paths with colons', () => {
    const mountinfo = '5 4 0:32 / /mnt/c\\040groups/memory rw shared:1 master:2 - cgroup cgroup rw,memory\n';
    const { list } = parse({ mountinfo, selfCgroup: '4:memory:/a.slice:b:c\n' });
    expect(list).toEqual([
      { version: 1, mountPoint: '/mnt/c groups/memory', controllers: ['memory'], own: '/a.slice:b:c' },
    ]);
  });

  test('no cgroup filesystem at all is HOST_UNSUPPORTED', () => {
    const attempt = (): unknown =>
      parse({ mountinfo: '22 1 254:1 / / rw - ext4 /dev/root rw\n', selfCgroup: '0::/\n' });
    expect(refusal(attempt)).toMatchObject({ code: 'HOST_UNSUPPORTED' });
  });

  test('this host can be read', () => {
    expect(readHierarchies().list.length).toBeGreaterThan(0);
  });
});
