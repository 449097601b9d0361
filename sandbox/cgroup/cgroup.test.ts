import { cgroupEntry, findUnifiedDirectory, membershipDirectory, type Cgroup } from './cgroup';
import { describeInsideView } from './inside-view';
import { locateCgroup } from './location';
import { recordedHierarchies, type RecordedHost } from './recorded-hosts';
import { explainWrite } from './virtual-file';
import { retryWithin } from './waiting';

const locate = (host: RecordedHost): Cgroup =>
  locateCgroup({ cgroupsPath: '/a/x', id: 'x', hierarchies: recordedHierarchies(host) });

describe('entering', () => {
  test('hybrid: tasks of every v1 hierarchy, systemd’s too, the freezer last, and the unified one', () => {
    expect(cgroupEntry(locate('hybrid')).files).toEqual(
      ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'blkio', 'pids', 'systemd', 'freezer'].map(
        (name) => `/sys/fs/cgroup/${name}/a/x/tasks`,
      ),
    );
    expect(cgroupEntry(locate('hybrid')).into).toBe('/sys/fs/cgroup/unified/a/x');
  });

  test('v1: one file for controllers that share a hierarchy', () => {
    const { into, files } = cgroupEntry(locate('v1'));
    expect(into).toBeUndefined();
    expect(files).toHaveLength(11);
    expect(files).toContain('/sys/fs/cgroup/cpu,cpuacct/a/x/tasks');
    expect(findUnifiedDirectory(locate('v1'))).toBeUndefined();
  });

  test('v2: by being cloned into it', () => {
    expect(cgroupEntry(locate('v2'))).toEqual({ into: '/sys/fs/cgroup/a/x', files: [] });
  });

  test('members are counted where the freezer is', () => {
    expect(membershipDirectory(locate('v1')).path).toBe('/sys/fs/cgroup/freezer/a/x');
    expect(membershipDirectory(locate('v2')).path).toBe('/sys/fs/cgroup/a/x');
  });

  test('a cgroup is plain data', () => {
    const cgroup = locate('hybrid');
    expect(JSON.parse(JSON.stringify(cgroup))).toEqual(cgroup);
  });
});

describe('the view from inside', () => {
  test('v1: a bind per hierarchy, links for controllers that share one', () => {
    const { tmpfs, binds, links } = describeInsideView(locate('v1'));
    expect(tmpfs).toBe(true);
    expect(binds).toHaveLength(11);
    expect(binds).toContainEqual({ source: '/sys/fs/cgroup/cpu,cpuacct/a/x', name: 'cpu,cpuacct' });
    expect(links).toEqual([
      { name: 'cpu', target: 'cpu,cpuacct' },
      { name: 'cpuacct', target: 'cpu,cpuacct' },
      { name: 'net_cls', target: 'net_cls,net_prio' },
      { name: 'net_prio', target: 'net_cls,net_prio' },
    ]);
  });

  test('hybrid: the unified hierarchy is not shown', () => {
    const { binds, links } = describeInsideView(locate('hybrid'));
    expect(binds.map(({ name }) => name)).toEqual([
      'cpu',
      'cpuacct',
      'cpuset',
      'memory',
      'devices',
      'freezer',
      'blkio',
      'pids',
      'systemd',
    ]);
    expect(links).toEqual([]);
  });

  test('v2: the cgroup itself', () => {
    expect(describeInsideView(locate('v2'))).toEqual({
      tmpfs: false,
      binds: [{ source: '/sys/fs/cgroup/a/x', name: '' }],
      links: [],
    });
  });
});

describe('what an errno means', () => {
  test.each([
    ['memory.limit_in_bytes', 'EBUSY', /could not reclaim/],
    ['memory.memsw.limit_in_bytes', 'EINVAL', /must not be below the memory limit/],
    ['cpuset.cpus', 'EACCES', /parent cgroup/],
    ['io.max', 'ENODEV', /no such block device/],
    ['devices.allow', 'EPERM', /parent cgroup does not allow/],
    ['pids.max', 'EPERM', /needs root/],
    ['pids.max', 'EROFS', /read-only/],
  ])('%s %s', (name, errno, meaning) => {
    const error = Object.assign(new Error(errno), { code: errno });
    const explained = explainWrite({ file: `/cg/${name}`, value: '1', error });
    expect(explained).toMatchObject({
      code: 'SYSCALL_FAILED',
      details: { path: `/cg/${name}`, syscall: 'write', errno },
    });
    expect(explained.message).toMatch(meaning);
    expect(explained.message).toContain(`"1" to /cg/${name}: ${errno}`);
  });

  test('what is no failed system call is thrown on', () => {
    expect(() => explainWrite({ file: '/x', value: '1', error: new TypeError('a bug') })).toThrow(TypeError);
  });
});

describe('waiting', () => {
  test('tries at once, then again until the time is over', async () => {
    let tries = 0;
    expect(await retryWithin(1000, () => ++tries === 1)).toBe(true);
    expect(tries).toBe(1);
    expect(await retryWithin(1000, () => ++tries === 4)).toBe(true);
    const start = performance.now();
    tries = 0;
    expect(await retryWithin(40, () => ++tries > 1000)).toBe(false);
    expect(performance.now() - start).toBeGreaterThanOrEqual(39);
    // Pauses of 1, 2, 4, 8, 16 ms and the rest: no busy loop.
    expect(tries).toBeLessThanOrEqual(8);
  });
});
