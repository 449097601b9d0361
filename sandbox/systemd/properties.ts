import { basename } from 'node:path';
import { deviceProperties } from './devices';
import { type Property, property } from './property';

/** What systemd is told of: a file of the unit's cgroup, and what is written to it. */
interface Write {
  readonly file: string;
  readonly value: string;
}

const INFINITY = 2n ** 64n - 1n;
const SECOND_US = 1_000_000n;
const DEFAULT_PERIOD_US = 100_000n;
/** systemd takes a share of CPU time in steps of 10 ms a second. */
const STEP_US = 10_000n;
const CPUS_PER_BYTE = 8;
/** As many as a kernel can be built for. */
const MAX_CPU = 8191;

/** Values of the spec's `unified` are written as they are; what the kernel takes beyond this (`1G`) systemd is not told. */
const AMOUNT = /^(max|-1|\d{1,19})$/;
const QUOTA = /^(max|\d{1,15})( [1-9]\d{0,15})?$/;
const SET = /^[\d,-]*$/;

/** By the file that systemd writes for the property, of cgroup v2 and then of v1 (systemd.resource-control(5)). */
const BY_FILE: Readonly<Record<string, (value: string) => Property[]>> = {
  'memory.min': amount('MemoryMin'),
  'memory.low': amount('MemoryLow'),
  'memory.high': amount('MemoryHigh'),
  'memory.max': amount('MemoryMax'),
  'memory.swap.max': amount('MemorySwapMax'),
  'pids.max': amount('TasksMax'),
  'cpu.weight': amount('CPUWeight'),
  'cpu.max': quota,
  'cpuset.cpus': set('AllowedCPUs'),
  'cpuset.mems': set('AllowedMemoryNodes'),
  'memory.limit_in_bytes': amount('MemoryLimit'),
  'cpu.shares': amount('CPUShares'),
  'blkio.bfq.weight': amount('BlockIOWeight'),
};

/** Of a CPU quota what v1 has in two files, of which a change may write one. Microseconds; undefined: unlimited, the usual one. */
interface QuotaInForce {
  readonly quota?: bigint;
  readonly period?: bigint;
}

/**
 * What is written to a container's cgroup, in systemd's words as far as it has any: it writes the values that it knows again when it is
 * reloaded, and those that it does not know fall back. All is written to the files as well, since systemd rounds some. Pure.
 * @param inForce what holds before the writes
 * @throws SiltError SPEC_UNSUPPORTED for devices of v1 that it has no words for, and would open.
 */
export function limitProperties(writes: readonly Write[], inForce: QuotaInForce = {}): Property[] {
  const amounts = writes.flatMap(({ file, value }) => BY_FILE[basename(file)]?.(value.trim()) ?? []);
  return [...amounts, ...quotaV1(writes, inForce), ...deviceProperties(writes)];
}

function quotaV1(writes: readonly Write[], inForce: QuotaInForce): Property[] {
  const written = (name: string): string | undefined => writes.find(({ file }) => basename(file) === name)?.value;
  const [us, period] = [written('cpu.cfs_quota_us'), written('cpu.cfs_period_us')];
  if (us === undefined && period === undefined) return [];
  const max = (us ?? String(inForce.quota ?? -1)).replace(/^-.*/, 'max');
  return quota(`${max} ${period ?? String(inForce.period ?? DEFAULT_PERIOD_US)}`);
}

function amount(name: string): (value: string) => Property[] {
  const isUnlimited = (value: string): boolean => value === 'max' || value === '-1';
  return (value) => (AMOUNT.test(value) ? [property(name, 't', isUnlimited(value) ? INFINITY : BigInt(value))] : []);
}

/** `MAX PERIOD`, where MAX may be `max`, and the period missing. */
function quota(value: string): Property[] {
  if (!QUOTA.test(value)) return [];
  const [us = 'max', period] = value.split(' ');
  const periodUs = period === undefined ? DEFAULT_PERIOD_US : BigInt(period);
  return [
    ...(period === undefined ? [] : [property('CPUQuotaPeriodUSec', 't', periodUs)]),
    property('CPUQuotaPerSecUSec', 't', us === 'max' ? INFINITY : roundUp((BigInt(us) * SECOND_US) / periodUs)),
  ];
}

function roundUp(us: bigint): bigint {
  return ((us + STEP_US - 1n) / STEP_US) * STEP_US;
}

/** `0-3,7` as the bit mask that systemd takes, CPU 0 in the first byte's lowest bit; an empty one for what is inherited. */
function set(name: string): (value: string) => Property[] {
  return (value) => {
    if (!SET.test(value)) return [];
    const ranges = value.split(',').filter((one) => one !== '');
    const bounds = ranges.map((range) => range.split('-').map(Number)).map(([from = 0, to = from]) => ({ from, to }));
    const last = Math.max(-1, ...bounds.map(({ to }) => to));
    if (last > MAX_CPU) return [];
    const mask = Buffer.alloc(Math.ceil((last + 1) / CPUS_PER_BYTE));
    for (const { from, to } of bounds) {
      for (let cpu = from; cpu <= to; cpu++) mask[Math.floor(cpu / CPUS_PER_BYTE)]! |= 1 << (cpu % CPUS_PER_BYTE);
    }
    return [property(name, 'ay', mask)];
  };
}
