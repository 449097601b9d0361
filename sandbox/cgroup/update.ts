import { findDirectory, type Cgroup } from './cgroup';
import { planUpdate, type UpdatePlan } from './plan';
import type { LimitsInForce } from './values';
import { readText, readTextIfPresent } from './virtual-file';
import type { Resources } from '../../oci';

/**
 * v1 shows "no limit" as the largest multiple of the page size below 2^63. Pages of 64 KiB are the largest there are.
 */
const V1_UNLIMITED = 2n ** 63n - 65_536n;

/**
 * The number in a file of one number; undefined for `max`, for a negative one (v1: no quota) and when the file is not
 * there.
 */
function readLimit(file: string): bigint | undefined {
  const text = readTextIfPresent(file)?.trim();
  if (text === undefined || !/^\d+$/.test(text)) return undefined;
  return BigInt(text);
}

function readLimitsV1(memory: string | undefined, cpu: string | undefined): LimitsInForce {
  const bounded = (name: string): bigint | undefined => {
    const value = memory === undefined ? undefined : readLimit(`${memory}/${name}`);
    return value === undefined || value >= V1_UNLIMITED ? undefined : value;
  };
  const cpuValue = (name: string): bigint | undefined => (cpu === undefined ? undefined : readLimit(`${cpu}/${name}`));
  return known({
    memory: bounded('memory.limit_in_bytes'),
    swap: bounded('memory.memsw.limit_in_bytes'),
    memoryUsage: bounded('memory.usage_in_bytes'),
    quota: cpuValue('cpu.cfs_quota_us'),
    period: cpuValue('cpu.cfs_period_us'),
    burst: cpuValue('cpu.cfs_burst_us'),
    realtimePeriod: cpuValue('cpu.rt_period_us'),
  });
}

function readLimitsV2(directory: string): LimitsInForce {
  const [quota, period] = readTextIfPresent(`${directory}/cpu.max`)?.trim().split(' ') ?? [];
  return known({
    memory: readLimit(`${directory}/memory.max`),
    swap: readLimit(`${directory}/memory.swap.max`),
    memoryUsage: readLimit(`${directory}/memory.current`),
    quota: quota === undefined || quota === 'max' ? undefined : BigInt(quota),
    period: period === undefined ? undefined : BigInt(period),
    burst: readLimit(`${directory}/cpu.max.burst`),
    realtimePeriod: undefined,
  });
}

function known(limits: Readonly<Record<keyof LimitsInForce, bigint | undefined>>): LimitsInForce {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

/** Bytes that the cgroup uses; 0 where nobody counts them. Raises SYSCALL_FAILED. */
export function memoryInUse(cgroup: Cgroup): bigint {
  return readLimitsInForce(cgroup).memoryUsage ?? 0n;
}

/** The limits that decide about the order and validity of a change. Raises SYSCALL_FAILED. */
export function readLimitsInForce(cgroup: Cgroup): LimitsInForce {
  const memory = findDirectory(cgroup, 'memory')?.path;
  const cpu = findDirectory(cgroup, 'cpu')?.path;
  if (cgroup.mode !== 'v2') return readLimitsV1(memory, cpu);
  return readLimitsV2(cgroup.directories[0]!.path);
}

/**
 * Plans a change of a running container's limits. What `resources` leaves out stays. `at` is the JSON path of the resources in the
 * caller's document, `$` when they are all of it; `devices` as for planUpdate. The BPF program is to replace the container's present one (v2, only when devices are
 * given).
 * Raises SPEC_INVALID, SPEC_UNSUPPORTED, WRONG_STATE (checkBeforeUpdate), SYSCALL_FAILED.
 */
export function planChange(
  cgroup: Cgroup,
  resources: Resources,
  { at = '$', devices }: { readonly at?: string; readonly devices?: Resources['devices'] } = {},
): UpdatePlan & { readonly inForce: LimitsInForce } {
  const table = cgroup.mode === 'v2' || cgroup.unit ? undefined : findDirectory(cgroup, 'devices');
  const inForce = readLimitsInForce(cgroup);
  const plan = planUpdate({
    cgroup,
    resources,
    at,
    inForce,
    ...(devices && { devices }),
    ...(table && resources.devices ? { devicesList: readText(`${table.path}/devices.list`) } : {}),
  });
  return { ...plan, inForce };
}
