import type { Cgroup } from './cgroup';
import { locateCgroup } from './location';
import { findOomSource, oomKills, registerOomEvent } from './oom';
import { parseBlkio, parseFlatKeyed, parseNestedKeyed, parseNumber, parsePartitions } from './parsing';
import { recordedHierarchies, type RecordedHost } from './recorded-hosts';
import { refusal } from './refusal';
import { readMetrics } from './stats';
import { makeTree, type Tree } from './tree';

let tree: Tree;
afterEach(() => {
  tree.remove();
});
beforeEach(() => {
  tree = makeTree({});
});

const locate = (host: RecordedHost): Cgroup =>
  locateCgroup({ cgroupsPath: '/x', id: 'x', hierarchies: recordedHierarchies(host, tree.root) });

function lay(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) tree.write(name, text);
}

describe('formats', () => {
  test('one number', () => {
    expect(['12\n', '18446744073709551615\n', 'max\n', '', '-1\n', undefined].map(parseNumber)).toEqual([
      12n,
      18_446_744_073_709_551_615n,
      18_446_744_073_709_551_615n,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('flat keyed: lines of another form are left out', () => {
    expect([...parseFlatKeyed('cache 1\nrss 2\nsome avg10=0.00\n\nswap -3\n')]).toEqual([
      ['cache', 1n],
      ['rss', 2n],
    ]);
  });

  test('nested keyed', () => {
    const lines = parseNestedKeyed('8:0 rbytes=1 wbytes=2\n8:16 \nmlx hca_handle=max hca_object=x\n');
    expect([...lines].map(([name, values]) => [name, Object.fromEntries(values)])).toEqual([
      ['8:0', { rbytes: 1n, wbytes: 2n }],
      ['8:16', {}],
      ['mlx', { hca_handle: 18_446_744_073_709_551_615n }],
    ]);
  });

  test('blkio: with and without operation, device names, no grand total', () => {
    const devices = parsePartitions('major minor  #blocks  name\n\n   8        0  500 sda\n 254        1  100 vda1\n');
    expect(parseBlkio('8:0 Read 10\n8:0 Total 10\n254:1 7\n9:9 Write 1\nTotal 18\n', devices)).toEqual([
      { op: 'Read', device: '/dev/sda', major: 8n, minor: 0n, value: 10n },
      { op: 'Total', device: '/dev/sda', major: 8n, minor: 0n, value: 10n },
      { op: '', device: '/dev/vda1', major: 254n, minor: 1n, value: 7n },
      { op: 'Write', device: '', major: 9n, minor: 9n, value: 1n },
    ]);
  });
});

describe('metrics of v1 (values recorded on Linux 6.18, hugetlb and rdma written after the kernel’s documentation)', () => {
  test('every part', () => {
    lay({
      'cpu,cpuacct/x/cpuacct.usage': '41000000\n',
      'cpu,cpuacct/x/cpuacct.stat': 'user 2\nsystem 1\n',
      'cpu,cpuacct/x/cpuacct.usage_percpu': '21000000 20000000 \n',
      'cpu,cpuacct/x/cpu.stat': 'nr_periods 7\nnr_throttled 3\nthrottled_time 123456789\nnr_bursts 0\nburst_time 0\n',
      'memory/x/memory.stat':
        'cache 4096\nrss 8192\nshmem 0\npgmajfault 2\nhierarchical_memory_limit 16777216\nhierarchical_memsw_limit 16777216\ntotal_cache 4097\ntotal_rss 8193\n',
      'memory/x/memory.usage_in_bytes': '12288\n',
      'memory/x/memory.max_usage_in_bytes': '16384\n',
      'memory/x/memory.failcnt': '5\n',
      'memory/x/memory.limit_in_bytes': '16777216\n',
      'memory/x/memory.kmem.usage_in_bytes': '100\n',
      'memory/x/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n',
      'pids/x/pids.current': '3\n',
      'pids/x/pids.max': 'max\n',
      'hugetlb/x/hugetlb.2MB.usage_in_bytes': '2097152\n',
      'hugetlb/x/hugetlb.2MB.rsvd.usage_in_bytes': '0\n',
      'hugetlb/x/hugetlb.2MB.max_usage_in_bytes': '4194304\n',
      'hugetlb/x/hugetlb.2MB.failcnt': '1\n',
      'blkio/x/blkio.bfq.io_serviced_recursive': 'Total 0\n',
      'blkio/x/blkio.throttle.io_serviced_recursive': '7:9 Read 4\n7:9 Total 4\nTotal 4\n',
      'blkio/x/blkio.throttle.io_service_bytes_recursive': '7:9 Read 16384\nTotal 16384\n',
      'rdma/x/rdma.current': 'mlx5_0 hca_handle=1 hca_object=20\n',
      'rdma/x/rdma.max': 'mlx5_0 hca_handle=3 hca_object=max\n',
    });
    const metrics = readMetrics(locate('v1'));
    const { memory, blkio, ...rest } = metrics as Extract<typeof metrics, { version: 1 }>;
    expect(rest).toEqual({
      version: 1,
      cpu: {
        usage: { total: 41_000_000n, kernel: 10_000_000n, user: 20_000_000n, perCpu: [21_000_000n, 20_000_000n] },
        throttling: { periods: 7n, throttledPeriods: 3n, throttledTime: 123_456_789n },
      },
      pids: { current: 3n, limit: 0n },
      hugetlb: [{ usage: 2_097_152n, max: 4_194_304n, failcnt: 1n, pagesize: '2MB' }],
      rdma: {
        current: [{ device: 'mlx5_0', hcaHandles: 1, hcaObjects: 20 }],
        limit: [{ device: 'mlx5_0', hcaHandles: 3, hcaObjects: 0xffff_ffff }],
      },
      memoryOomControl: { oomKillDisable: 0n, underOom: 0n, oomKill: 1n },
    });
    expect(memory).toMatchObject({
      cache: 4096n,
      rss: 8192n,
      pgMajFault: 2n,
      dirty: 0n,
      hierarchicalMemoryLimit: 16_777_216n,
      hierarchicalSwapLimit: 16_777_216n,
      totalCache: 4097n,
      totalRss: 8193n,
      usage: { limit: 16_777_216n, usage: 12_288n, max: 16_384n, failcnt: 5n },
      kernel: { limit: 0n, usage: 100n, max: 0n, failcnt: 0n },
    });
    // No swap accounting on this host: the entry is left out, not zero.
    expect(memory).not.toHaveProperty('swap');
    expect(blkio?.ioServicedRecursive).toEqual([
      { op: 'Read', device: '', major: 7n, minor: 9n, value: 4n },
      { op: 'Total', device: '', major: 7n, minor: 9n, value: 4n },
    ]);
    expect(blkio?.ioServiceBytesRecursive.map(({ value }) => value)).toEqual([16_384n]);
    expect(blkio?.sectorsRecursive).toEqual([]);
  });

  test('BFQ’s counters are preferred to the throttling layer’s', () => {
    lay({
      'blkio/x/blkio.bfq.io_serviced_recursive': '7:9 Read 1\n',
      'blkio/x/blkio.throttle.io_serviced_recursive': '7:9 Read 4\n',
    });
    expect(readMetrics(locate('hybrid'))).toMatchObject({ blkio: { ioServicedRecursive: [{ value: 1n }] } });
  });

  test('a cgroup that is gone has nothing but empty block I/O', () => {
    expect(Object.keys(readMetrics(locate('hybrid')))).toEqual(['version', 'blkio']);
  });
});

// No host with v2 controllers was at hand: the values are made up, the formats are those of cgroup-v2.rst.
describe('metrics of v2', () => {
  test('every part', () => {
    lay({
      'x/cpu.stat':
        'usage_usec 41\nuser_usec 25\nsystem_usec 16\nnice_usec 0\nnr_periods 7\nnr_throttled 3\nthrottled_usec 12\n',
      'x/memory.stat':
        'anon 8192\nfile 4096\nkernel_stack 16384\nworkingset_refault_anon 2\nworkingset_refault_file 3\nworkingset_activate_anon 1\nthp_fault_alloc 9\n',
      'x/memory.current': '12288\n',
      'x/memory.max': 'max\n',
      'x/memory.swap.current': '0\n',
      'x/memory.swap.max': '4096\n',
      'x/memory.events': 'low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n',
      'x/pids.current': '3\n',
      'x/pids.max': 'max\n',
      'x/io.stat': '8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n',
      'x/hugetlb.2MB.current': '0\n',
      'x/hugetlb.2MB.max': '4194304\n',
      'x/hugetlb.2MB.rsvd.current': '7\n',
      'x/rdma.current': '\n',
      'x/rdma.max': '\n',
    });
    const metrics = readMetrics(locate('v2'));
    const { memory, ...rest } = metrics as Extract<typeof metrics, { version: 2 }>;
    expect(rest).toEqual({
      version: 2,
      pids: { current: 3n, limit: 18_446_744_073_709_551_615n },
      cpu: { usageUsec: 41n, userUsec: 25n, systemUsec: 16n, nrPeriods: 7n, nrThrottled: 3n, throttledUsec: 12n },
      io: { usage: [{ major: 8n, minor: 0n, rbytes: 1n, wbytes: 2n, rios: 3n, wios: 4n }] },
      hugetlb: [{ current: 0n, max: 4_194_304n, pagesize: '2MB' }],
      rdma: { current: [], limit: [] },
      memoryEvents: { low: 0n, high: 1n, max: 2n, oom: 3n, oomKill: 4n },
    });
    expect(memory).toMatchObject({
      anon: 8192n,
      file: 4096n,
      kernelStack: 16_384n,
      workingsetRefault: 5n,
      workingsetActivate: 1n,
      thpFaultAlloc: 9n,
      usage: 12_288n,
      usageLimit: 18_446_744_073_709_551_615n,
      swapUsage: 0n,
      swapLimit: 4096n,
    });
  });

  test('parts whose controllers are off are left out', () => {
    lay({ 'x/cpu.stat': 'usage_usec 41\nuser_usec 25\nsystem_usec 16\n' });
    expect(readMetrics(locate('v2'))).toEqual({
      version: 2,
      cpu: { usageUsec: 41n, userUsec: 25n, systemUsec: 16n, nrPeriods: 0n, nrThrottled: 0n, throttledUsec: 0n },
    });
  });
});

describe('OOM', () => {
  test('where to listen', () => {
    expect(findOomSource(locate('hybrid'))).toEqual({
      kind: 'eventfd',
      eventFile: `${tree.root}/memory/x/memory.oom_control`,
      controlFile: `${tree.root}/memory/x/cgroup.event_control`,
    });
    expect(findOomSource(locate('v2'))).toEqual({ kind: 'inotify', file: `${tree.root}/x/memory.events` });
  });

  test('how many were killed', () => {
    expect([oomKills(locate('v1')), oomKills(locate('v2'))]).toEqual([0n, 0n]);
    lay({
      'memory/x/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
      'x/memory.events': 'oom 9\noom_kill 3\noom_group_kill 5\n',
    });
    expect([oomKills(locate('v1')), oomKills(locate('v2'))]).toEqual([2n, 3n]);
  });

  test('v1: the eventfd and an fd of memory.oom_control are what the kernel gets', () => {
    lay({ 'memory/x/memory.oom_control': '', 'memory/x/cgroup.event_control': '' });
    registerOomEvent(locate('v1'), 77);
    expect(tree.read('memory/x/cgroup.event_control')).toMatch(/^77 \d+ $/);
  });

  test('refused on v2, and when the cgroup is gone', () => {
    expect(refusal(() => registerOomEvent(locate('v2'), 7)).code).toBe('HOST_UNSUPPORTED');
    expect(refusal(() => registerOomEvent(locate('v1'), 7))).toMatchObject({
      code: 'SYSCALL_FAILED',
      details: { errno: 'ENOENT' },
    });
  });
});
