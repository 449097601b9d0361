import { requireDirectory } from './cgroup';
import { planCpuset } from './cpuset';
import {
  I64_MAX,
  U64_MAX,
  specInvalid,
  specUnsupported,
  toInteger,
  toSetting,
  type Planning,
  type Write,
} from './values';
import type { CpuLimits } from '../../oci';

/** Kernel bounds, kernel/sched: MIN_SHARES and MAX_SHARES; CFS periods of 1 ms to 1 s, quotas of at least 1 ms. */
const SHARES = { min: 2n, max: 262_144n };
const PERIOD_US = { min: 1000n, max: 1_000_000n };
const MIN_QUOTA_US = 1000n;
const DEFAULT_PERIOD_US = 100_000n;

/**
 * cpu.weight of v2 for `cpu.shares` of v1: 2…262144 onto 1…10000 in a straight line, as runc (before 1.3) and crun do.
 * Shares of 1024 become 39, not v2's default of 100.
 */
export function sharesToWeight(shares: bigint): bigint {
  return 1n + ((shares - SHARES.min) * 9999n) / (SHARES.max - SHARES.min);
}

/** Checked values; undefined: not set. A quota of -1 is unlimited. */
interface Bandwidth {
  readonly quota: bigint | undefined;
  readonly period: bigint | undefined;
  readonly burst: bigint | undefined;
}

function checkBandwidth(cpu: CpuLimits, { at }: Planning): Bandwidth {
  const given = toSetting(cpu.quota, `${at}.cpu.quota`, { min: -I64_MAX, max: I64_MAX });
  // Every negative quota means "none" to the kernel (v1) and to runc (v2).
  const quota = given !== undefined && given < 0n ? -1n : given;
  if (quota !== undefined && quota > 0n && quota < MIN_QUOTA_US) {
    throw specInvalid(
      `${at}.cpu.quota`,
      `the kernel takes no quota below ${String(MIN_QUOTA_US)} µs, found ${String(quota)}`,
    );
  }
  const burst = toInteger(cpu.burst, `${at}.cpu.burst`, { min: 0n, max: I64_MAX });
  if (burst !== undefined && quota !== undefined && quota > 0n && burst > quota) {
    throw specInvalid(`${at}.cpu.burst`, `${String(burst)} µs is above the quota of ${String(quota)} µs`);
  }
  const period = toSetting(cpu.period, `${at}.cpu.period`, PERIOD_US);
  return { quota, period, burst };
}

/**
 * The kernel wants burst ≤ quota at every step: a burst that shrinks goes before the quota, one that grows after it.
 */
function withBurst(burst: Write | undefined, shrinks: boolean, quota: readonly Write[]): Write[] {
  if (burst === undefined) return [...quota];
  return shrinks ? [burst, ...quota] : [...quota, burst];
}

function planBandwidthV1(bandwidth: Bandwidth, directory: string, { at, inForce }: Planning): Write[] {
  const write = (name: string, value: bigint | undefined, field: string): Write[] =>
    value === undefined
      ? []
      : [{ file: `${directory}/${name}`, value: String(value), why: `CPU ${field}`, jsonPath: `${at}.cpu.${field}` }];
  const quota = write('cpu.cfs_quota_us', bandwidth.quota, 'quota');
  const period = write('cpu.cfs_period_us', bandwidth.period, 'period');
  // In between, quota/period must stay within the parent's share: a longer period goes first, a shorter one last.
  const longer = (bandwidth.period ?? 0n) >= (inForce.period ?? DEFAULT_PERIOD_US);
  const [burst] = write('cpu.cfs_burst_us', bandwidth.burst, 'burst');
  const shrinks = (bandwidth.burst ?? 0n) < (inForce.burst ?? 0n);
  return withBurst(burst, shrinks, longer ? [...period, ...quota] : [...quota, ...period]);
}

function planBandwidthV2(bandwidth: Bandwidth, directory: string, { at, inForce }: Planning): Write[] {
  const writes: Write[] = [];
  const { quota, period } = bandwidth;
  if (quota !== undefined || period !== undefined) {
    // cpu.max holds both: what the spec leaves out stays as it is.
    const max = quota ?? inForce.quota ?? -1n;
    writes.push({
      file: `${directory}/cpu.max`,
      value: `${max === -1n ? 'max' : String(max)} ${String(period ?? inForce.period ?? DEFAULT_PERIOD_US)}`,
      why: 'CPU quota and period',
      jsonPath: quota === undefined ? `${at}.cpu.period` : `${at}.cpu.quota`,
    });
  }
  if (bandwidth.burst === undefined) return writes;
  const burst: Write = {
    file: `${directory}/cpu.max.burst`,
    value: String(bandwidth.burst),
    why: 'CPU burst',
    jsonPath: `${at}.cpu.burst`,
  };
  return withBurst(burst, bandwidth.burst < (inForce.burst ?? 0n), writes);
}

function planRealtime(cpu: CpuLimits, planning: Planning): Write[] {
  const { at, cgroup } = planning;
  const runtime = toSetting(cpu.realtimeRuntime, `${at}.cpu.realtimeRuntime`, { min: -1n, max: I64_MAX });
  const period = toSetting(cpu.realtimePeriod, `${at}.cpu.realtimePeriod`, { min: 1n, max: U64_MAX });
  if (runtime === undefined && period === undefined) return [];
  const field = runtime === undefined ? 'realtimePeriod' : 'realtimeRuntime';
  if (cgroup.mode === 'v2') throw specUnsupported(`${at}.cpu.${field}`, 'cgroup v2 has no realtime limits');
  if (runtime !== undefined && period !== undefined && runtime > period) {
    throw specInvalid(`${at}.cpu.realtimeRuntime`, `${String(runtime)} µs is above the period of ${String(period)} µs`);
  }
  const { path } = requireDirectory(cgroup, 'cpu', `${at}.cpu.${field}`);
  const write = (name: string, value: bigint | undefined, why: string, key: string): Write[] =>
    value === undefined ? [] : [{ file: `${path}/${name}`, value: String(value), why, jsonPath: `${at}.cpu.${key}` }];
  const periods = write('cpu.rt_period_us', period, 'realtime period', 'realtimePeriod');
  const runtimes = write('cpu.rt_runtime_us', runtime, 'realtime runtime', 'realtimeRuntime');
  // As with quota and period: runtime/period must stay within the parent's share in between.
  const longer = (period ?? 0n) >= (planning.inForce.realtimePeriod ?? 0n);
  return longer ? [...periods, ...runtimes] : [...runtimes, ...periods];
}

/** Weight and idle. An idle group has no weight (the kernel answers EINVAL), so with idle 1 shares are left out. */
function planWeight(cpu: CpuLimits, planning: Planning): Write[] {
  const { at, cgroup } = planning;
  const idle = toInteger(cpu.idle, `${at}.cpu.idle`, { min: 0n, max: 1n });
  const shares = toSetting(cpu.shares, `${at}.cpu.shares`, SHARES);
  const writes: Write[] = [];
  if (idle !== undefined) {
    const { path } = requireDirectory(cgroup, 'cpu', `${at}.cpu.idle`);
    writes.push({ file: `${path}/cpu.idle`, value: String(idle), why: 'SCHED_IDLE group', jsonPath: `${at}.cpu.idle` });
  }
  if (shares !== undefined && idle !== 1n) {
    const { path } = requireDirectory(cgroup, 'cpu', `${at}.cpu.shares`);
    const [name, value] = cgroup.mode === 'v2' ? ['cpu.weight', sharesToWeight(shares)] : ['cpu.shares', shares];
    writes.push({ file: `${path}/${name}`, value: String(value), why: 'CPU shares', jsonPath: `${at}.cpu.shares` });
  }
  return writes;
}

/** `resources.cpu`, with its cpuset. Raises SPEC_INVALID and SPEC_UNSUPPORTED. */
export function planCpu(cpu: CpuLimits | undefined, planning: Planning): Write[] {
  if (cpu === undefined) return [];
  const bandwidth = checkBandwidth(cpu, planning);
  const [field] = Object.entries(bandwidth).find(([, value]) => value !== undefined) ?? [];
  const writes = [...planCpuset(cpu, planning), ...planWeight(cpu, planning)];
  if (field !== undefined) {
    const { path } = requireDirectory(planning.cgroup, 'cpu', `${planning.at}.cpu.${field}`);
    const plan = planning.cgroup.mode === 'v2' ? planBandwidthV2 : planBandwidthV1;
    writes.push(...plan(bandwidth, path, planning));
  }
  return [...writes, ...planRealtime(cpu, planning)];
}
