import { planCgroup, planUpdate, type CgroupPlan } from './plan';
import { recordedHierarchies, type RecordedHost } from './recorded-hosts';
import type { LimitsInForce, Write } from './values';
import { locateCgroup } from './location';
import { refusal } from './refusal';
import type { Resources } from '../../oci';

// The v2 plans are checked as data only: no host with v2 controllers was at hand.

const ALLOW_ALL = [{ allow: true, access: 'rwm' }] as const;

function plan(host: RecordedHost, resources: Resources | undefined): CgroupPlan {
  return planCgroup({ resources, cgroupsPath: '/default/x', id: 'x', hierarchies: recordedHierarchies(host) });
}

/** `controller-directory/file = value`, without the writes for devices. */
function show(writes: readonly Write[]): string[] {
  return writes
    .filter(({ file }) => !file.includes('/devices.'))
    .map(({ file, value, optional, otherwise }) => {
      const name = file.replace('/sys/fs/cgroup/', '').replace('default/x/', '');
      const fallback = otherwise === undefined ? '' : ` | ${otherwise.file.replace(/^.*\//, '')} = ${otherwise.value}`;
      return `${name} = ${value}${fallback}${optional === true ? ' ?' : ''}`;
    });
}

function created(host: RecordedHost, resources: Resources): string[] {
  const { writes, laterWrites } = plan(host, resources);
  return show([...writes, ...laterWrites]);
}

function updated(host: RecordedHost, resources: Resources, inForce: LimitsInForce = {}): string[] {
  const cgroup = locateCgroup({ cgroupsPath: '/default/x', id: 'x', hierarchies: recordedHierarchies(host) });
  return show(planUpdate({ cgroup, resources, inForce }).writes);
}

describe('limits of a new cgroup', () => {
  test.each<[string, RecordedHost, Resources, string[]]>([
    ['nothing', 'v1', {}, []],
    [
      'memory: limit before memory+swap, which is unlimited as yet',
      'v1',
      {
        memory: {
          limit: 1000,
          swap: 3000,
          reservation: 500,
          swappiness: 0,
          disableOOMKiller: true,
          kernel: 7,
          kernelTCP: 7,
        },
      },
      [
        'memory/memory.limit_in_bytes = 1000',
        'memory/memory.memsw.limit_in_bytes = 3000',
        'memory/memory.soft_limit_in_bytes = 500',
        'memory/memory.oom_control = 1',
        'memory/memory.swappiness = 0',
      ],
    ],
    [
      'unlimited memory lifts memory+swap too, if there is swap accounting',
      'v1',
      { memory: { limit: -1 } },
      ['memory/memory.memsw.limit_in_bytes = -1 ?', 'memory/memory.limit_in_bytes = -1'],
    ],
    [
      'memory+swap unlimited',
      'v1',
      { memory: { limit: 1000, swap: -1 } },
      ['memory/memory.memsw.limit_in_bytes = -1', 'memory/memory.limit_in_bytes = 1000'],
    ],
    [
      'zeros are not set',
      'v1',
      {
        memory: { limit: 0, swap: 0, reservation: 0 },
        cpu: { shares: 0, quota: 0, period: 0 },
        blockIO: { weight: 0 },
      },
      [],
    ],
    ['the OOM killer is on in a new cgroup', 'v1', { memory: { disableOOMKiller: false } }, []],
    [
      'numbers beyond 2^53 are written in digits',
      'v1',
      { memory: { limit: 9_223_372_036_854_771_712 } },
      ['memory/memory.limit_in_bytes = 9223372036854771712'],
    ],
    [
      'v2: swap alone, written first',
      'v2',
      { memory: { limit: 1000, swap: 3000, reservation: 500, kernel: 7 } },
      ['memory.swap.max = 2000', 'memory.max = 1000', 'memory.low = 500'],
    ],
    ['v2: no swap', 'v2', { memory: { limit: 1000, swap: 1000 } }, ['memory.swap.max = 0', 'memory.max = 1000']],
    [
      'v2: unlimited',
      'v2',
      { memory: { limit: -1, reservation: -1 } },
      ['memory.swap.max = max ?', 'memory.max = max', 'memory.low = max'],
    ],
    ['v2: unlimited swap', 'v2', { memory: { limit: 1000, swap: -1 } }, ['memory.swap.max = max', 'memory.max = 1000']],
    [
      'cpu',
      'v1',
      {
        cpu: {
          shares: 512,
          quota: 50_000,
          period: 200_000,
          burst: 10_000,
          realtimeRuntime: 900,
          realtimePeriod: 1000,
          cpus: '0-1,3',
          mems: '0',
          idle: 0,
        },
      },
      [
        'cpuset/cpuset.cpus = 0-1,3',
        'cpuset/cpuset.mems = 0',
        'cpu,cpuacct/cpu.idle = 0',
        'cpu,cpuacct/cpu.shares = 512',
        'cpu,cpuacct/cpu.cfs_period_us = 200000',
        'cpu,cpuacct/cpu.cfs_quota_us = 50000',
        'cpu,cpuacct/cpu.cfs_burst_us = 10000',
        'cpu,cpuacct/cpu.rt_period_us = 1000',
        'cpu,cpuacct/cpu.rt_runtime_us = 900',
      ],
    ],
    [
      'a shorter period comes after its quota',
      'v1',
      { cpu: { quota: 5000, period: 10_000 } },
      ['cpu,cpuacct/cpu.cfs_quota_us = 5000', 'cpu,cpuacct/cpu.cfs_period_us = 10000'],
    ],
    ['any negative quota is none', 'v1', { cpu: { quota: -7 } }, ['cpu,cpuacct/cpu.cfs_quota_us = -1']],
    ['an idle group has no weight', 'hybrid', { cpu: { shares: 512, idle: 1 } }, ['cpu/cpu.idle = 1']],
    [
      'v2: cpu',
      'v2',
      { cpu: { shares: 1024, quota: 50_000, burst: 10_000, cpus: '0', mems: '0-1', idle: 0 } },
      [
        'cpuset.cpus = 0',
        'cpuset.mems = 0-1',
        'cpu.idle = 0',
        'cpu.weight = 39',
        'cpu.max = 50000 100000',
        'cpu.max.burst = 10000',
      ],
    ],
    ['v2: period alone', 'v2', { cpu: { period: 50_000 } }, ['cpu.max = max 50000']],
    ['v2: least and greatest shares', 'v2', { cpu: { shares: 2 } }, ['cpu.weight = 1']],
    ['v2: greatest shares', 'v2', { cpu: { shares: 262_144 } }, ['cpu.weight = 10000']],
    ['pids', 'v1', { pids: { limit: 32 } }, ['pids/pids.max = 32']],
    ['pids without limit', 'v2', { pids: { limit: -1 } }, ['pids.max = max']],
    ['the least pids that there can be', 'v1', { pids: { limit: 0 } }, ['pids/pids.max = 1']],
    ['of pids nothing said', 'v1', { pids: {} }, []],
    [
      'block I/O',
      'v1',
      {
        blockIO: {
          weight: 500,
          leafWeight: 0,
          weightDevice: [
            { major: 8, minor: 0, weight: 100 },
            { major: 8, minor: 16 },
          ],
          throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }],
          throttleWriteBpsDevice: [{ major: 8, minor: 0, rate: 0 }],
          throttleReadIOPSDevice: [{ major: 8, minor: 0, rate: 3 }],
          throttleWriteIOPSDevice: [
            { major: 8, minor: 0, rate: 4 },
            { major: 8, minor: 16, rate: 5 },
          ],
        },
      },
      [
        'blkio/blkio.bfq.weight = 500',
        'blkio/blkio.bfq.weight_device = 8:0 100',
        'blkio/blkio.throttle.read_bps_device = 8:0 1000',
        'blkio/blkio.throttle.write_bps_device = 8:0 0',
        'blkio/blkio.throttle.read_iops_device = 8:0 3',
        'blkio/blkio.throttle.write_iops_device = 8:0 4',
        'blkio/blkio.throttle.write_iops_device = 8:16 5',
      ],
    ],
    [
      'v2: block I/O',
      'v2',
      {
        blockIO: {
          weight: 10,
          weightDevice: [{ major: 8, minor: 0, weight: 1000 }],
          throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }],
          throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 0 }],
        },
      },
      [
        'io.bfq.weight = 10 | io.weight = 1',
        'io.bfq.weight = 8:0 1000 | io.weight = 8:0 10000',
        'io.max = 8:0 rbps=1000',
        'io.max = 8:0 wiops=max',
      ],
    ],
    [
      'huge pages',
      'v1',
      { hugepageLimits: [{ pageSize: '2MB', limit: 4_194_304 }] },
      ['hugetlb/hugetlb.2MB.limit_in_bytes = 4194304', 'hugetlb/hugetlb.2MB.rsvd.limit_in_bytes = 4194304 ?'],
    ],
    [
      'v2: huge pages',
      'v2',
      { hugepageLimits: [{ pageSize: '1GB', limit: 0 }] },
      ['hugetlb.1GB.max = 0', 'hugetlb.1GB.rsvd.max = 0 ?'],
    ],
    [
      'network and RDMA',
      'v1',
      {
        network: { classID: 1_048_577, priorities: [{ name: 'eth0', priority: 5 }] },
        rdma: { mlx5_0: { hcaHandles: 3, hcaObjects: 100 }, mlx5_1: {} },
      },
      [
        'net_cls,net_prio/net_cls.classid = 1048577',
        'net_cls,net_prio/net_prio.ifpriomap = eth0 5',
        'rdma/rdma.max = mlx5_0 hca_handle=3 hca_object=100',
      ],
    ],
    [
      'v2: unified comes last',
      'v2',
      { unified: { 'memory.high': '900', 'cgroup.max.depth': '3', 'hugetlb.2MB.max': '0' }, pids: { limit: 3 } },
      ['memory.high = 900', 'cgroup.max.depth = 3', 'hugetlb.2MB.max = 0', 'pids.max = 3'],
    ],
    [
      'v2: unified comes last',
      'v2',
      { unified: { 'pids.max': '4' }, pids: { limit: 3 } },
      ['pids.max = 3', 'pids.max = 4'],
    ],
  ])('%s (%s)', (_, host, resources, expected) => {
    expect(created(host, resources)).toEqual(expected);
  });

  test.each([
    [3, '64'],
    [1000, '1000'],
    [-1, 'max'],
  ])('who unpacks a seed is bounded: pids.limit %d', (limit, value) => {
    const { seedWrites } = plan('v2', { devices: ALLOW_ALL, pids: { limit } });
    expect(seedWrites.map((write) => write.value)).toEqual([value]);
  });

  test('every write from the spec says where it comes from and what it is', () => {
    const { writes, laterWrites } = plan('v1', { devices: ALLOW_ALL, memory: { limit: 1000 }, pids: { limit: 3 } });
    expect(writes.slice(1)).toEqual([
      {
        file: '/sys/fs/cgroup/memory/default/x/memory.limit_in_bytes',
        value: '1000',
        why: 'memory limit',
        jsonPath: '$.linux.resources.memory.limit',
      },
    ]);
    // Who makes the container would count.
    expect(laterWrites).toEqual([
      {
        file: '/sys/fs/cgroup/pids/default/x/pids.max',
        value: '3',
        why: 'pids limit',
        jsonPath: '$.linux.resources.pids.limit',
      },
    ]);
  });
});

describe('values that are refused', () => {
  test.each<[string, RecordedHost, Resources, 'SPEC_INVALID' | 'SPEC_UNSUPPORTED']>([
    ['memory.limit', 'v1', { memory: { limit: -2 } }, 'SPEC_INVALID'],
    ['memory.limit', 'v1', { memory: { limit: 1.5 } }, 'SPEC_INVALID'],
    ['memory.limit', 'v1', { memory: { limit: 2 ** 63 } }, 'SPEC_INVALID'],
    ['memory.limit', 'v1', { memory: { limit: '1g' as unknown as number } }, 'SPEC_INVALID'],
    ['memory.swap', 'v1', { memory: { limit: 1000, swap: 999 } }, 'SPEC_INVALID'],
    ['memory.swap', 'v2', { memory: { limit: 1000, swap: 999 } }, 'SPEC_INVALID'],
    ['memory.swap', 'v1', { memory: { swap: 1000 } }, 'SPEC_INVALID'],
    ['memory.swap', 'v2', { memory: { limit: -1, swap: 1000 } }, 'SPEC_INVALID'],
    ['memory.swappiness', 'v1', { memory: { swappiness: 101 } }, 'SPEC_INVALID'],
    ['memory.swappiness', 'v2', { memory: { swappiness: 60 } }, 'SPEC_UNSUPPORTED'],
    ['memory.disableOOMKiller', 'v2', { memory: { disableOOMKiller: true } }, 'SPEC_UNSUPPORTED'],
    ['cpu.shares', 'v1', { cpu: { shares: 1 } }, 'SPEC_INVALID'],
    ['cpu.shares', 'v2', { cpu: { shares: 262_145 } }, 'SPEC_INVALID'],
    ['cpu.quota', 'v1', { cpu: { quota: 999 } }, 'SPEC_INVALID'],
    ['cpu.period', 'v1', { cpu: { period: 999 } }, 'SPEC_INVALID'],
    ['cpu.period', 'v2', { cpu: { period: 1_000_001 } }, 'SPEC_INVALID'],
    ['cpu.burst', 'v1', { cpu: { quota: 10_000, burst: 10_001 } }, 'SPEC_INVALID'],
    ['cpu.realtimeRuntime', 'v1', { cpu: { realtimeRuntime: 11, realtimePeriod: 10 } }, 'SPEC_INVALID'],
    ['cpu.realtimeRuntime', 'v2', { cpu: { realtimeRuntime: 5 } }, 'SPEC_UNSUPPORTED'],
    ['cpu.realtimePeriod', 'v2', { cpu: { realtimePeriod: 5 } }, 'SPEC_UNSUPPORTED'],
    ['cpu.idle', 'v1', { cpu: { idle: 2 } }, 'SPEC_INVALID'],
    ['cpu.cpus', 'v1', { cpu: { cpus: 'all' } }, 'SPEC_INVALID'],
    ['cpu.cpus', 'v2', { cpu: { cpus: '3-1' } }, 'SPEC_INVALID'],
    ['cpu.mems', 'v1', { cpu: { mems: '0,' } }, 'SPEC_INVALID'],
    ['pids.limit', 'v1', { pids: { limit: 4_194_305 } }, 'SPEC_INVALID'],
    ['blockIO.weight', 'v1', { blockIO: { weight: 9 } }, 'SPEC_INVALID'],
    ['blockIO.leafWeight', 'v1', { blockIO: { leafWeight: 10 } }, 'SPEC_UNSUPPORTED'],
    [
      'blockIO.weightDevice[1].weight',
      'v1',
      {
        blockIO: {
          weightDevice: [
            { major: 8, minor: 0 },
            { major: 8, minor: 0, weight: 1001 },
          ],
        },
      },
      'SPEC_INVALID',
    ],
    [
      'blockIO.throttleReadBpsDevice[0].major',
      'v1',
      { blockIO: { throttleReadBpsDevice: [{ major: -1, minor: 0, rate: 1 }] } },
      'SPEC_INVALID',
    ],
    [
      'blockIO.throttleReadBpsDevice[0].rate',
      'v2',
      { blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: -1 }] } },
      'SPEC_INVALID',
    ],
    ['hugepageLimits[0].pageSize', 'v1', { hugepageLimits: [{ pageSize: '2M', limit: 1 }] }, 'SPEC_INVALID'],
    ['hugepageLimits[0].limit', 'hybrid', { hugepageLimits: [{ pageSize: '2MB', limit: 1 }] }, 'SPEC_UNSUPPORTED'],
    ['network.classID', 'v2', { network: { classID: 1 } }, 'SPEC_UNSUPPORTED'],
    ['network.classID', 'hybrid', { network: { classID: 1 } }, 'SPEC_UNSUPPORTED'],
    ['network.priorities[0].name', 'v1', { network: { priorities: [{ name: 'a b', priority: 1 }] } }, 'SPEC_INVALID'],
    ['rdma["mlx"]', 'hybrid', { rdma: { mlx: { hcaHandles: 1 } } }, 'SPEC_UNSUPPORTED'],
    ['unified["memory.max"]', 'v1', { unified: { 'memory.max': '1' } }, 'SPEC_UNSUPPORTED'],
    ['unified["memory.max"]', 'hybrid', { unified: { 'memory.max': '1' } }, 'SPEC_UNSUPPORTED'],
    ['unified["../memory.max"]', 'v2', { unified: { '../memory.max': '1' } }, 'SPEC_INVALID'],
    ['unified["cgroup.procs"]', 'v2', { unified: { 'cgroup.procs': '1' } }, 'SPEC_INVALID'],
    ['unified["cgroup.kill"]', 'v2', { unified: { 'cgroup.kill': '1' } }, 'SPEC_INVALID'],
    ['unified["dmem.max"]', 'v2', { unified: { 'dmem.max': '1' } }, 'SPEC_UNSUPPORTED'],
    ['devices[0].type', 'v1', { devices: [{ allow: true, type: 'p' as 'c', access: 'rwm' }] }, 'SPEC_INVALID'],
    ['devices[0].access', 'v1', { devices: [{ allow: true, type: 'c' }] }, 'SPEC_INVALID'],
    ['devices[0].access', 'v2', { devices: [{ allow: true, type: 'c', access: 'rx' }] }, 'SPEC_INVALID'],
    [
      'devices[1].major',
      'v2',
      {
        devices: [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'c', major: 2 ** 32, access: 'r' },
        ],
      },
      'SPEC_INVALID',
    ],
  ])('%s (%s) %#', (place, host, resources, code) => {
    expect(refusal(() => plan(host, resources))).toMatchObject({
      code,
      details: { jsonPath: `$.linux.resources.${place}` },
    });
  });

  test('a memory limit on a host without the memory controller', () => {
    const hierarchies = recordedHierarchies('v2', '/sys/fs/cgroup', 'cpu pids\n');
    const attempt = (resources: Resources): unknown =>
      planCgroup({ resources, cgroupsPath: '/x', id: 'x', hierarchies }).laterWrites;
    expect(refusal(() => attempt({ memory: { limit: 1000 } }))).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      message:
        '$.linux.resources.memory.limit needs the cgroup controller memory, but cgroup.controllers does not list it',
    });
    expect(attempt({ memory: {}, pids: { limit: 3 } })).toHaveLength(1);
  });

  test('v1 without the devices controller is refused unless every device is allowed', () => {
    const hierarchies = recordedHierarchies('v1');
    const without = {
      ...hierarchies,
      list: hierarchies.list.filter(({ controllers }) => !controllers.includes('devices')),
    };
    const attempt = (resources: Resources): unknown =>
      planCgroup({ resources, cgroupsPath: '/x', id: 'x', hierarchies: without });
    expect(refusal(() => attempt({}))).toMatchObject({ code: 'HOST_UNSUPPORTED' });
    expect(() => attempt({ devices: ALLOW_ALL })).not.toThrow();
  });
});

describe('the frame around the limits', () => {
  test('v1: directories parents first, cpusets top down, no cpuset of its own where the spec gives one', () => {
    const { directories, inheritances, delegations, deviceProgram } = plan('hybrid', { cpu: { cpus: '0' } });
    expect(directories.slice(0, 4)).toEqual([
      '/sys/fs/cgroup/cpu/default',
      '/sys/fs/cgroup/cpu/default/x',
      '/sys/fs/cgroup/cpuacct/default',
      '/sys/fs/cgroup/cpuacct/default/x',
    ]);
    expect(directories.slice(-2)).toEqual(['/sys/fs/cgroup/unified/default', '/sys/fs/cgroup/unified/default/x']);
    expect(inheritances).toEqual([
      { file: '/sys/fs/cgroup/cpuset/default/cpuset.cpus', from: '/sys/fs/cgroup/cpuset/cpuset.cpus' },
      { file: '/sys/fs/cgroup/cpuset/default/cpuset.mems', from: '/sys/fs/cgroup/cpuset/cpuset.mems' },
      { file: '/sys/fs/cgroup/cpuset/default/x/cpuset.mems', from: '/sys/fs/cgroup/cpuset/default/cpuset.mems' },
    ]);
    expect(delegations).toEqual([]);
    expect(deviceProgram).toBeUndefined();
  });

  test('v2: controllers are switched on down to the parent, never in the container’s own directory', () => {
    const { directories, inheritances, delegations } = plan('v2', {});
    expect(directories).toEqual(['/sys/fs/cgroup/default', '/sys/fs/cgroup/default/x']);
    expect(inheritances).toEqual([]);
    expect(delegations.map(({ file, value }) => [file, value])).toEqual([
      ['/sys/fs/cgroup/cgroup.subtree_control', '+cpuset +cpu +io +memory +hugetlb +pids +rdma +misc'],
      ['/sys/fs/cgroup/default/cgroup.subtree_control', '+cpuset +cpu +io +memory +hugetlb +pids +rdma +misc'],
    ]);
  });

  test('v2: a device program, except where all is allowed', () => {
    expect(plan('v2', undefined).deviceProgram?.length).toBeGreaterThan(0);
    expect(plan('v2', { devices: ALLOW_ALL }).deviceProgram).toBeUndefined();
  });
});

describe('limits of a running container', () => {
  test.each<[string, RecordedHost, Resources, LimitsInForce, string[]]>([
    [
      'both grow: memory+swap first',
      'v1',
      { memory: { limit: 4000, swap: 6000 } },
      { memory: 1000n, swap: 2000n },
      ['memory/memory.memsw.limit_in_bytes = 6000', 'memory/memory.limit_in_bytes = 4000'],
    ],
    [
      'both shrink: memory first',
      'v1',
      { memory: { limit: 1000, swap: 2000 } },
      { memory: 4000n, swap: 6000n },
      ['memory/memory.limit_in_bytes = 1000', 'memory/memory.memsw.limit_in_bytes = 2000'],
    ],
    [
      'memory grows up to the new total',
      'v1',
      { memory: { limit: 5000, swap: 5000 } },
      { memory: 5000n, swap: 6000n },
      ['memory/memory.memsw.limit_in_bytes = 5000', 'memory/memory.limit_in_bytes = 5000'],
    ],
    [
      'memory+swap alone, above the limit in force',
      'v1',
      { memory: { swap: 6000 } },
      { memory: 1000n, swap: 2000n },
      ['memory/memory.memsw.limit_in_bytes = 6000'],
    ],
    [
      'the OOM killer can come back',
      'v1',
      { memory: { disableOOMKiller: false } },
      {},
      ['memory/memory.oom_control = 0'],
    ],
    [
      'v2: swap alone counts from the limit in force',
      'v2',
      { memory: { swap: 6000 } },
      { memory: 1000n },
      ['memory.swap.max = 5000'],
    ],
    [
      'a longer period first',
      'v1',
      { cpu: { quota: 50_000, period: 200_000 } },
      { period: 100_000n },
      ['cpu,cpuacct/cpu.cfs_period_us = 200000', 'cpu,cpuacct/cpu.cfs_quota_us = 50000'],
    ],
    [
      'a shorter period last',
      'v1',
      { cpu: { quota: 50_000, period: 100_000 } },
      { period: 200_000n },
      ['cpu,cpuacct/cpu.cfs_quota_us = 50000', 'cpu,cpuacct/cpu.cfs_period_us = 100000'],
    ],
    [
      'a burst that shrinks goes before the quota',
      'v1',
      { cpu: { quota: 5000, burst: 1000 } },
      { burst: 9000n },
      ['cpu,cpuacct/cpu.cfs_burst_us = 1000', 'cpu,cpuacct/cpu.cfs_quota_us = 5000'],
    ],
    [
      'a burst that grows goes after it',
      'v1',
      { cpu: { quota: 50_000, burst: 10_000 } },
      { burst: 9000n },
      ['cpu,cpuacct/cpu.cfs_quota_us = 50000', 'cpu,cpuacct/cpu.cfs_burst_us = 10000'],
    ],
    [
      'v2: a period keeps the quota in force',
      'v2',
      { cpu: { period: 50_000 } },
      { quota: 20_000n, period: 100_000n },
      ['cpu.max = 20000 50000'],
    ],
    [
      'v2: a quota keeps the period in force',
      'v2',
      { cpu: { quota: 30_000 } },
      { quota: 20_000n, period: 50_000n },
      ['cpu.max = 30000 50000'],
    ],
  ])('%s (%s)', (_, host, resources, inForce, expected) => {
    expect(updated(host, resources, inForce)).toEqual(expected);
  });

  test.each<[string, Resources, LimitsInForce, string, string]>([
    [
      'memory above memory+swap in force',
      { memory: { limit: 3000 } },
      { memory: 1000n, swap: 2000n },
      'SPEC_INVALID',
      '$.memory.limit',
    ],
    [
      'memory+swap below memory in force',
      { memory: { swap: 500 } },
      { memory: 1000n },
      'SPEC_INVALID',
      '$.memory.swap',
    ],
    [
      'a limit below the usage, when asked to check',
      { memory: { limit: 1000, checkBeforeUpdate: true } },
      { memoryUsage: 1001n },
      'WRONG_STATE',
      '$.memory.limit',
    ],
  ])('refused: %s', (_, resources, inForce, code, jsonPath) => {
    expect(refusal(() => updated('v1', resources, inForce))).toMatchObject({ code, details: { jsonPath } });
  });

  test('without devices in the update the device rules stay', () => {
    const cgroup = locateCgroup({ cgroupsPath: '/x', id: 'x', hierarchies: recordedHierarchies('v2') });
    expect(planUpdate({ cgroup, resources: { devices: [] }, inForce: {} })).toEqual({
      writes: [],
      deviceProgram: undefined,
    });
    const { deviceProgram } = planUpdate({ cgroup, resources: { devices: ALLOW_ALL }, inForce: {} });
    expect(deviceProgram?.length).toBe(8 * 8);
  });
});
