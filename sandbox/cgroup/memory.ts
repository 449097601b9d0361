import { requireDirectory } from './cgroup';
import { I64_MAX, specInvalid, specUnsupported, toInteger, toSetting, type Planning, type Write } from './values';
import { SiltError } from '../../errors';
import type { MemoryLimits } from '../../oci';

/** Bytes; -1 is unlimited, 0 is not set. */
const LIMIT = { min: -1n, max: I64_MAX };

interface LimitPair {
  readonly limit: bigint | undefined;
  /** Memory and swap together, as the OCI spec has it. */
  readonly swap: bigint | undefined;
}

const text = (bytes: bigint | undefined): string => (bytes === undefined ? 'unlimited' : `${String(bytes)} bytes`);

/** Refuses a memory+swap limit that contradicts the memory limit: the kernel would only say EINVAL. */
function checkSwap({ limit, swap }: LimitPair, at: string): void {
  if (swap === undefined || swap === -1n) return;
  if (limit === undefined || limit === -1n) {
    throw specInvalid(`${at}.swap`, 'is memory and swap together, so it needs a memory.limit too');
  }
  if (swap < limit) throw specInvalid(`${at}.swap`, `is below the memory limit of ${text(limit)}, which it includes`);
}

function checkUsage(memory: MemoryLimits, limit: bigint | undefined, planning: Planning): void {
  const usage = planning.inForce.memoryUsage;
  if (memory.checkBeforeUpdate !== true || limit === undefined || limit < 0n || usage === undefined) return;
  if (limit >= usage) return;
  throw new SiltError(
    'WRONG_STATE',
    `${planning.at}.memory.limit: ${text(limit)} is below the ${text(usage)} in use now (checkBeforeUpdate is set)`,
    { jsonPath: `${planning.at}.memory.limit` },
  );
}

/**
 * The two limits of v1 in an order in which every step is valid: memory+swap must never be below memory. So swap goes
 * first when it is at least the memory limit in force, otherwise memory does.
 */
function planLimitsV1({ limit, swap }: LimitPair, directory: string, { at, inForce }: Planning): Write[] {
  const memoryWrite = (value: bigint): Write => ({
    file: `${directory}/memory.limit_in_bytes`,
    value: String(value),
    why: 'memory limit',
    jsonPath: `${at}.memory.limit`,
  });
  const swapWrite = (value: bigint): Write => ({
    file: `${directory}/memory.memsw.limit_in_bytes`,
    value: String(value),
    why: 'memory+swap limit',
    jsonPath: `${at}.memory.swap`,
  });
  if (limit === -1n && swap === undefined) {
    // No memory limit under a memory+swap limit is not possible. Without swap accounting there is nothing to lift.
    return [{ ...swapWrite(-1n), jsonPath: `${at}.memory.limit`, optional: true }, memoryWrite(-1n)];
  }
  if (limit !== undefined && swap === undefined && inForce.swap !== undefined && limit > inForce.swap) {
    throw specInvalid(
      `${at}.memory.limit`,
      `is above the memory+swap limit in force (${text(inForce.swap)}); set memory.swap too`,
    );
  }
  const writes: Write[] = [];
  if (limit !== undefined) writes.push(memoryWrite(limit));
  if (swap !== undefined) writes.push(swapWrite(swap));
  const swapFirst = swap === -1n || (swap !== undefined && inForce.memory !== undefined && swap >= inForce.memory);
  return swapFirst ? writes.reverse() : writes;
}

/** What the spec asks for, checked; `first` names the first of it for messages. */
interface Asked extends LimitPair {
  readonly first: string;
  readonly reservation: bigint | undefined;
  readonly swappiness: bigint | undefined;
  readonly oomKiller: 'on' | 'off' | undefined;
}

function planV1(asked: Asked, planning: Planning): Write[] {
  const at = `${planning.at}.memory`;
  const { path } = requireDirectory(planning.cgroup, 'memory', `${at}.${asked.first}`);
  const writes = planLimitsV1(asked, path, planning);
  const add = (name: string, value: bigint, field: string, why: string): void => {
    writes.push({ file: `${path}/${name}`, value: String(value), why, jsonPath: `${at}.${field}` });
  };
  if (asked.reservation !== undefined) {
    add('memory.soft_limit_in_bytes', asked.reservation, 'reservation', 'memory reservation');
  }
  if (asked.oomKiller !== undefined) {
    add('memory.oom_control', asked.oomKiller === 'off' ? 1n : 0n, 'disableOOMKiller', `OOM killer ${asked.oomKiller}`);
  }
  if (asked.swappiness !== undefined) add('memory.swappiness', asked.swappiness, 'swappiness', 'swappiness');
  return writes;
}

function planV2(asked: Asked, planning: Planning): Write[] {
  const at = `${planning.at}.memory`;
  if (asked.swappiness !== undefined) throw specUnsupported(`${at}.swappiness`, 'cgroup v2 has no swappiness');
  if (asked.oomKiller === 'off') {
    throw specUnsupported(`${at}.disableOOMKiller`, 'cgroup v2 cannot switch the OOM killer off');
  }
  const { limit, swap, reservation } = asked;
  const { path } = requireDirectory(planning.cgroup, 'memory', `${at}.${asked.first}`);
  const writes: Write[] = [];
  const add = (name: string, bytes: bigint, field: string, why: string): void => {
    writes.push({
      file: `${path}/${name}`,
      value: bytes === -1n ? 'max' : String(bytes),
      why,
      jsonPath: `${at}.${field}`,
    });
  };
  // Swap first, so that a memory limit below the present usage can be met by swapping under the new swap limit.
  if (swap !== undefined) {
    const total = limit ?? planning.inForce.memory;
    add('memory.swap.max', swap === -1n || total === undefined ? -1n : swap - total, 'swap', 'swap limit');
  } else if (limit === -1n) {
    writes.push({
      file: `${path}/memory.swap.max`,
      value: 'max',
      why: 'swap limit',
      jsonPath: `${at}.limit`,
      optional: true,
    });
  }
  if (limit !== undefined) add('memory.max', limit, 'limit', 'memory limit');
  if (reservation !== undefined) add('memory.low', reservation, 'reservation', 'memory reservation');
  return writes;
}

/**
 * `resources.memory`. `kernel` and `kernelTCP` are ignored, as runc does: no kernel since 5.16 enforces the first and
 * both are deprecated. So is `useHierarchy`: since 5.11 every memory cgroup is hierarchical.
 * Raises SPEC_INVALID, SPEC_UNSUPPORTED, and WRONG_STATE for a limit below the usage under `checkBeforeUpdate`.
 */
export function planMemory(memory: MemoryLimits | undefined, planning: Planning): Write[] {
  if (memory === undefined) return [];
  const at = `${planning.at}.memory`;
  const limit = toSetting(memory.limit, `${at}.limit`, LIMIT);
  const swap = toSetting(memory.swap, `${at}.swap`, LIMIT);
  const reservation = toSetting(memory.reservation, `${at}.reservation`, LIMIT);
  const swappiness = toInteger(memory.swappiness, `${at}.swappiness`, { min: 0n, max: 100n });
  // A fresh cgroup has its OOM killer on, so false is news for an update only.
  const oomKiller = memory.disableOOMKiller === true ? 'off' : undefined;
  const oomKillerOn = memory.disableOOMKiller === false && planning.updating && planning.cgroup.mode !== 'v2';
  const settings = {
    limit,
    swap,
    reservation,
    swappiness,
    oomKiller: oomKillerOn ? ('on' as const) : oomKiller,
  } as const;
  const [first] = Object.entries(settings).find(([, value]) => value !== undefined) ?? [];
  if (first === undefined) return [];
  checkSwap({ limit: limit ?? planning.inForce.memory, swap }, at);
  checkUsage(memory, limit, planning);
  const asked: Asked = { ...settings, first: first === 'oomKiller' ? 'disableOOMKiller' : first };
  return planning.cgroup.mode === 'v2' ? planV2(asked, planning) : planV1(asked, planning);
}
