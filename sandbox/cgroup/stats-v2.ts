import type { Cgroup } from './cgroup';
import { defined, listPageSizes, readRdma, type RdmaStat, type Read } from './metric-parts';
import { parseFlatKeyed, parseNestedKeyed, parseNumber, pick } from './parsing';
import { readTextIfPresent } from './virtual-file';

/** Field names of `io.containerd.cgroups.v2.MemoryStat` and the keys of memory.stat behind them. */
const MEMORY_KEYS = {
  anon: 'anon',
  file: 'file',
  kernelStack: 'kernel_stack',
  slab: 'slab',
  sock: 'sock',
  shmem: 'shmem',
  fileMapped: 'file_mapped',
  fileDirty: 'file_dirty',
  fileWriteback: 'file_writeback',
  anonThp: 'anon_thp',
  inactiveAnon: 'inactive_anon',
  activeAnon: 'active_anon',
  inactiveFile: 'inactive_file',
  activeFile: 'active_file',
  unevictable: 'unevictable',
  slabReclaimable: 'slab_reclaimable',
  slabUnreclaimable: 'slab_unreclaimable',
  pgfault: 'pgfault',
  pgmajfault: 'pgmajfault',
  workingsetRefault: 'workingset_refault',
  workingsetActivate: 'workingset_activate',
  workingsetNodereclaim: 'workingset_nodereclaim',
  pgrefill: 'pgrefill',
  pgscan: 'pgscan',
  pgsteal: 'pgsteal',
  pgactivate: 'pgactivate',
  pgdeactivate: 'pgdeactivate',
  pglazyfree: 'pglazyfree',
  pglazyfreed: 'pglazyfreed',
  thpFaultAlloc: 'thp_fault_alloc',
  thpCollapseAlloc: 'thp_collapse_alloc',
} as const;

const CPU_KEYS = {
  usageUsec: 'usage_usec',
  userUsec: 'user_usec',
  systemUsec: 'system_usec',
  nrPeriods: 'nr_periods',
  nrThrottled: 'nr_throttled',
  throttledUsec: 'throttled_usec',
} as const;

const EVENT_KEYS = { low: 'low', high: 'high', max: 'max', oom: 'oom', oomKill: 'oom_kill' } as const;

const IO_KEYS = { rbytes: 'rbytes', wbytes: 'wbytes', rios: 'rios', wios: 'wios' } as const;

/** The four sums have no file of memory.stat; a limit of 2^64-1 is none. */
export type MemoryStatV2 = Readonly<
  Record<keyof typeof MEMORY_KEYS | 'usage' | 'usageLimit' | 'swapUsage' | 'swapLimit', bigint>
>;

/**
 * `io.containerd.cgroups.v2.Metrics`, fields named as protobufjs names them. A part without its controller is left out.
 */
export interface MetricsV2 {
  readonly version: 2;
  /** A limit of 2^64-1 is none. */
  readonly pids?: { readonly current: bigint; readonly limit: bigint };
  readonly cpu?: Readonly<Record<keyof typeof CPU_KEYS, bigint>>;
  readonly memory?: MemoryStatV2;
  readonly rdma?: RdmaStat;
  readonly io?: {
    readonly usage: readonly ({ readonly major: bigint; readonly minor: bigint } & Readonly<
      Record<keyof typeof IO_KEYS, bigint>
    >)[];
  };
  readonly hugetlb?: readonly { readonly current: bigint; readonly max: bigint; readonly pagesize: string }[];
  readonly memoryEvents?: Readonly<Record<keyof typeof EVENT_KEYS, bigint>>;
}

/**
 * Since 5.9 the kernel counts refaults and activations of anonymous and file pages apart; the message has one field for
 * both.
 */
function sumSplitKeys(values: Map<string, bigint>): Map<string, bigint> {
  for (const key of ['workingset_refault', 'workingset_activate']) {
    const parts = [values.get(`${key}_anon`), values.get(`${key}_file`)];
    if (!values.has(key)) values.set(key, (parts[0] ?? 0n) + (parts[1] ?? 0n));
  }
  return values;
}

function readMemory(read: Read): MemoryStatV2 | undefined {
  const stat = read('memory.stat');
  if (stat === undefined) return undefined;
  const value = (name: string): bigint => parseNumber(read(name)) ?? 0n;
  return {
    ...pick(sumSplitKeys(parseFlatKeyed(stat)), MEMORY_KEYS),
    usage: value('memory.current'),
    usageLimit: value('memory.max'),
    swapUsage: value('memory.swap.current'),
    swapLimit: value('memory.swap.max'),
  };
}

function readIo(text: string): NonNullable<MetricsV2['io']> {
  const usage = [...parseNestedKeyed(text)].flatMap(([device, values]) => {
    const match = /^(\d+):(\d+)$/.exec(device);
    return match === null ? [] : [{ major: BigInt(match[1]!), minor: BigInt(match[2]!), ...pick(values, IO_KEYS) }];
  });
  return { usage };
}

/** Reads the metrics of a cgroup of v2. cpu.stat is there even without the cpu controller. */
export function readMetricsV2(cgroup: Cgroup): MetricsV2 {
  const directory = cgroup.directories[0]!.path;
  const read: Read = (name) => readTextIfPresent(`${directory}/${name}`);
  const current = parseNumber(read('pids.current'));
  const cpu = read('cpu.stat');
  const io = read('io.stat');
  const events = read('memory.events');
  const sizes = listPageSizes(directory, 'current');
  const hugetlb = sizes.map((pagesize) => ({
    current: parseNumber(read(`hugetlb.${pagesize}.current`)) ?? 0n,
    max: parseNumber(read(`hugetlb.${pagesize}.max`)) ?? 0n,
    pagesize,
  }));
  return {
    version: 2,
    ...defined({
      pids: current === undefined ? undefined : { current, limit: parseNumber(read('pids.max')) ?? 0n },
      cpu: cpu === undefined ? undefined : pick(parseFlatKeyed(cpu), CPU_KEYS),
      memory: readMemory(read),
      rdma: readRdma(read),
      io: io === undefined ? undefined : readIo(io),
      hugetlb: hugetlb.length === 0 ? undefined : hugetlb,
      memoryEvents: events === undefined ? undefined : pick(parseFlatKeyed(events), EVENT_KEYS),
    }),
  };
}
