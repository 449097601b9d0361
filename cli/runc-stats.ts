import type { cgroups } from '../sandbox';

type Metrics = ReturnType<typeof cgroups.readMetrics>;
type Entry =
  { readonly limit: bigint; readonly usage: bigint; readonly max: bigint; readonly failcnt: bigint } | undefined;

/** JSON has no bigint; what is beyond 2^53 is a limit that stands for none. */
const number = (value: bigint | undefined): number => Number(value ?? 0n);

/** What `events` prints as `data`: the layout of runc (its types/events.go), which go-runc and Docker's tools read. */
export function runcStats(metrics: Metrics): object {
  return metrics.version === 1 ? ofV1(metrics) : ofV2(metrics);
}

function ofV1({ cpu, memory, pids, blkio, hugetlb = [] }: Extract<Metrics, { version: 1 }>): object {
  const { usage, swap, kernel, kernelTcp, ...raw } = memory ?? {};
  const perCpu = (cpu?.usage?.perCpu ?? []).map(number);
  return {
    cpu: {
      usage: {
        total: number(cpu?.usage?.total),
        ...(perCpu.length > 0 ? { percpu: perCpu } : {}),
        kernel: number(cpu?.usage?.kernel),
        user: number(cpu?.usage?.user),
      },
      throttling: {
        periods: number(cpu?.throttling?.periods),
        throttledPeriods: number(cpu?.throttling?.throttledPeriods),
        throttledTime: number(cpu?.throttling?.throttledTime),
      },
    },
    cpuset: {},
    memory: {
      cache: number((raw as { cache?: bigint }).cache),
      usage: entry(usage),
      swap: entry(swap),
      kernel: entry(kernel),
      kernelTCP: entry(kernelTcp),
      raw: snakeCase(raw),
    },
    pids: pidsOf(pids),
    blkio: Object.fromEntries(
      Object.entries(blkio ?? {}).map(([name, list]) => [
        name,
        list.map(({ major, minor, op, value }) => ({
          major: number(major),
          minor: number(minor),
          op,
          value: number(value),
        })),
      ]),
    ),
    hugetlb: Object.fromEntries(
      hugetlb.map(({ pagesize, usage: used, max, failcnt }) => [
        pagesize,
        { usage: number(used), max: number(max), failcnt: number(failcnt) },
      ]),
    ),
    intel_rdt: {},
    network_interfaces: null,
  };
}

const NANOSECONDS_PER_MICROSECOND = 1000n;

function ofV2({ cpu, memory, pids, io, hugetlb = [] }: Extract<Metrics, { version: 2 }>): object {
  const time = (micros: bigint | undefined): number => number((micros ?? 0n) * NANOSECONDS_PER_MICROSECOND);
  const { usage, usageLimit, swapUsage, swapLimit, ...raw } = memory ?? {};
  const operations = (io?.usage ?? []).flatMap(({ major, minor, rbytes, wbytes }) =>
    [
      ['Read', rbytes],
      ['Write', wbytes],
    ].map(([op, value]) => ({ major: number(major), minor: number(minor), op, value: number(value as bigint) })),
  );
  return {
    cpu: {
      usage: { total: time(cpu?.usageUsec), kernel: time(cpu?.systemUsec), user: time(cpu?.userUsec) },
      throttling: {
        periods: number(cpu?.nrPeriods),
        throttledPeriods: number(cpu?.nrThrottled),
        throttledTime: time(cpu?.throttledUsec),
      },
    },
    cpuset: {},
    memory: {
      cache: number((raw as { file?: bigint }).file),
      usage: { limit: number(usageLimit), usage: number(usage), max: 0, failcnt: 0 },
      swap: { limit: number(swapLimit), usage: number(swapUsage), max: 0, failcnt: 0 },
      kernel: entry(undefined),
      kernelTCP: entry(undefined),
      raw: snakeCase(raw),
    },
    pids: pidsOf(pids),
    blkio: operations.length > 0 ? { ioServiceBytesRecursive: operations } : {},
    hugetlb: Object.fromEntries(
      hugetlb.map(({ pagesize, current, max }) => [pagesize, { usage: number(current), max: number(max), failcnt: 0 }]),
    ),
    intel_rdt: {},
    network_interfaces: null,
  };
}

/** runc leaves out a limit that is none. */
function pidsOf(pids: { readonly current: bigint; readonly limit: bigint } | undefined): object {
  const limited = pids !== undefined && pids.limit !== 0n && pids.limit < 2n ** 63n;
  return { current: number(pids?.current), ...(limited ? { limit: number(pids.limit) } : {}) };
}

function entry(of: Entry): object {
  return { limit: number(of?.limit), usage: number(of?.usage), max: number(of?.max), failcnt: number(of?.failcnt) };
}

/** Names of memory.stat that are no mere snake case of the metric's. */
const NAMES: Readonly<Record<string, string>> = {
  pg_pg_in: 'pgpgin',
  pg_pg_out: 'pgpgout',
  pg_fault: 'pgfault',
  pg_maj_fault: 'pgmajfault',
  total_pg_pg_in: 'total_pgpgin',
  total_pg_pg_out: 'total_pgpgout',
  total_pg_fault: 'total_pgfault',
  total_pg_maj_fault: 'total_pgmajfault',
  hierarchical_swap_limit: 'hierarchical_memsw_limit',
};

/** Names as in memory.stat. */
function snakeCase(values: Readonly<Record<string, bigint>>): object {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      return [NAMES[snake] ?? snake, number(value)];
    }),
  );
}
