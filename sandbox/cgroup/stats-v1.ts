import { findDirectory, type Cgroup } from './cgroup';
import { defined, listPageSizes, readRdma, type RdmaStat, type Read } from './metric-parts';
import { parseBlkio, parseFlatKeyed, parseNumber, parsePartitions, pick, UNLIMITED, type BlkioEntry } from './parsing';
import { readTextIfPresent } from './virtual-file';

/** Field names of `io.containerd.cgroups.v1.MemoryStat` and the keys of memory.stat behind them. */
const MEMORY_KEYS = {
  cache: 'cache',
  rss: 'rss',
  rssHuge: 'rss_huge',
  mappedFile: 'mapped_file',
  dirty: 'dirty',
  writeback: 'writeback',
  pgPgIn: 'pgpgin',
  pgPgOut: 'pgpgout',
  pgFault: 'pgfault',
  pgMajFault: 'pgmajfault',
  inactiveAnon: 'inactive_anon',
  activeAnon: 'active_anon',
  inactiveFile: 'inactive_file',
  activeFile: 'active_file',
  unevictable: 'unevictable',
  hierarchicalMemoryLimit: 'hierarchical_memory_limit',
  hierarchicalSwapLimit: 'hierarchical_memsw_limit',
  totalCache: 'total_cache',
  totalRss: 'total_rss',
  totalRssHuge: 'total_rss_huge',
  totalMappedFile: 'total_mapped_file',
  totalDirty: 'total_dirty',
  totalWriteback: 'total_writeback',
  totalPgPgIn: 'total_pgpgin',
  totalPgPgOut: 'total_pgpgout',
  totalPgFault: 'total_pgfault',
  totalPgMajFault: 'total_pgmajfault',
  totalInactiveAnon: 'total_inactive_anon',
  totalActiveAnon: 'total_active_anon',
  totalInactiveFile: 'total_inactive_file',
  totalActiveFile: 'total_active_file',
  totalUnevictable: 'total_unevictable',
} as const;

export interface MemoryEntry {
  readonly limit: bigint;
  readonly usage: bigint;
  readonly max: bigint;
  readonly failcnt: bigint;
}

export type MemoryStatV1 = Readonly<Record<keyof typeof MEMORY_KEYS, bigint>> & {
  readonly usage?: MemoryEntry;
  readonly swap?: MemoryEntry;
  readonly kernel?: MemoryEntry;
  readonly kernelTcp?: MemoryEntry;
};

const BLKIO_FILES = {
  ioServiceBytesRecursive: 'io_service_bytes',
  ioServicedRecursive: 'io_serviced',
  ioQueuedRecursive: 'io_queued',
  ioServiceTimeRecursive: 'io_service_time',
  ioWaitTimeRecursive: 'io_wait_time',
  ioMergedRecursive: 'io_merged',
  ioTimeRecursive: 'time',
  sectorsRecursive: 'sectors',
} as const;

export type BlkioStat = Readonly<Record<keyof typeof BLKIO_FILES, readonly BlkioEntry[]>>;

/**
 * `io.containerd.cgroups.v1.Metrics`, fields named as protobufjs names them. A part without its controller is left out.
 */
export interface MetricsV1 {
  readonly version: 1;
  readonly hugetlb?: readonly {
    readonly usage: bigint;
    readonly max: bigint;
    readonly failcnt: bigint;
    readonly pagesize: string;
  }[];
  /** A limit of 0 is no limit. */
  readonly pids?: { readonly current: bigint; readonly limit: bigint };
  readonly cpu?: {
    /** Nanoseconds. */
    readonly usage?: {
      readonly total: bigint;
      readonly kernel: bigint;
      readonly user: bigint;
      readonly perCpu: readonly bigint[];
    };
    /** `throttledTime` in nanoseconds. */
    readonly throttling?: {
      readonly periods: bigint;
      readonly throttledPeriods: bigint;
      readonly throttledTime: bigint;
    };
  };
  readonly memory?: MemoryStatV1;
  readonly blkio?: BlkioStat;
  readonly rdma?: RdmaStat;
  readonly memoryOomControl?: { readonly oomKillDisable: bigint; readonly underOom: bigint; readonly oomKill: bigint };
}

/** USER_HZ, in which cpuacct.stat counts, is 100 on every architecture that silt runs on. */
const NANOSECONDS_PER_TICK = 10_000_000n;

/**
 * User and kernel time from cpuacct.stat: coarse, but scaled to the total, which cpuacct.usage_user and _sys are not.
 */
function readUsage(read: Read): NonNullable<MetricsV1['cpu']>['usage'] {
  const total = parseNumber(read('cpuacct.usage'));
  if (total === undefined) return undefined;
  const ticks = parseFlatKeyed(read('cpuacct.stat') ?? '');
  const perCpu = (read('cpuacct.usage_percpu') ?? '').split(/\s+/).filter(Boolean);
  return {
    total,
    kernel: (ticks.get('system') ?? 0n) * NANOSECONDS_PER_TICK,
    user: (ticks.get('user') ?? 0n) * NANOSECONDS_PER_TICK,
    perCpu: perCpu.map(BigInt),
  };
}

function readThrottling(read: Read): NonNullable<MetricsV1['cpu']>['throttling'] {
  const text = read('cpu.stat');
  if (text === undefined) return undefined;
  const keys = { periods: 'nr_periods', throttledPeriods: 'nr_throttled', throttledTime: 'throttled_time' } as const;
  return pick(parseFlatKeyed(text), keys);
}

function readEntry(read: Read, prefix: string): MemoryEntry | undefined {
  const usage = parseNumber(read(`${prefix}.usage_in_bytes`));
  if (usage === undefined) return undefined;
  const value = (name: string): bigint => parseNumber(read(`${prefix}.${name}`)) ?? 0n;
  return { limit: value('limit_in_bytes'), usage, max: value('max_usage_in_bytes'), failcnt: value('failcnt') };
}

function readMemory(read: Read): MemoryStatV1 | undefined {
  const stat = read('memory.stat');
  if (stat === undefined) return undefined;
  return {
    ...pick(parseFlatKeyed(stat), MEMORY_KEYS),
    ...defined({
      usage: readEntry(read, 'memory'),
      swap: readEntry(read, 'memory.memsw'),
      kernel: readEntry(read, 'memory.kmem'),
      kernelTcp: readEntry(read, 'memory.kmem.tcp'),
    }),
  };
}

/**
 * BFQ's counters when BFQ serves some device, else those of the throttling layer, which counts for every scheduler. Of
 * the second there are only bytes and operations.
 */
function readBlkio(read: Read): BlkioStat {
  const devices = parsePartitions(readTextIfPresent('/proc/partitions') ?? '');
  const readAll = (prefix: string, suffix: string): BlkioStat => {
    const lists = Object.entries(BLKIO_FILES).map(([field, name]) => [
      field,
      parseBlkio(read(`blkio.${prefix}${name}${suffix}`) ?? '', devices),
    ]);
    return Object.fromEntries(lists) as BlkioStat;
  };
  const bfq = readAll('bfq.', '_recursive');
  if (bfq.ioServicedRecursive.length > 0) return bfq;
  const recursive = readAll('throttle.', '_recursive');
  return recursive.ioServicedRecursive.length > 0 ? recursive : readAll('throttle.', '');
}

/** Reads the metrics of a cgroup of v1 or of a hybrid host. */
export function readMetricsV1(cgroup: Cgroup): MetricsV1 {
  const reader = (controller: string): Read => {
    const directory = findDirectory(cgroup, controller)?.path;
    return (name) => (directory === undefined ? undefined : readTextIfPresent(`${directory}/${name}`));
  };
  const memory = reader('memory');
  const pids = reader('pids');
  const hugetlb = findDirectory(cgroup, 'hugetlb')?.path;
  const current = parseNumber(pids('pids.current'));
  const limit = parseNumber(pids('pids.max'));
  const oomControl = memory('memory.oom_control');
  const cpu = defined({ usage: readUsage(reader('cpuacct')), throttling: readThrottling(reader('cpu')) });
  const oomKeys = { oomKillDisable: 'oom_kill_disable', underOom: 'under_oom', oomKill: 'oom_kill' } as const;
  const sizes = hugetlb === undefined ? undefined : listPageSizes(hugetlb, 'usage_in_bytes');
  const hugepages = sizes?.map((pagesize) => {
    const value = (name: string): bigint => parseNumber(reader('hugetlb')(`hugetlb.${pagesize}.${name}`)) ?? 0n;
    return { usage: value('usage_in_bytes'), max: value('max_usage_in_bytes'), failcnt: value('failcnt'), pagesize };
  });
  return {
    version: 1,
    ...defined({
      hugetlb: hugepages,
      pids: current === undefined ? undefined : { current, limit: limit === UNLIMITED ? 0n : (limit ?? 0n) },
      cpu: Object.keys(cpu).length === 0 ? undefined : cpu,
      memory: readMemory(memory),
      blkio: findDirectory(cgroup, 'blkio') === undefined ? undefined : readBlkio(reader('blkio')),
      rdma: readRdma(reader('rdma')),
      memoryOomControl: oomControl === undefined ? undefined : pick(parseFlatKeyed(oomControl), oomKeys),
    }),
  };
}
