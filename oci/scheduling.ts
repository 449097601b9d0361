import { C } from '../syscall';
import type { IoPriority, Scheduler } from './spec';
import type { MemoryPolicy } from './spec-linux';

/** The number that ioprio_set(2) takes: the class in the upper bits, the level within it in the lower 13. */
export function ioPriorityNumber({ class: name, priority = 0 }: IoPriority): number {
  return (C[name] << 13) | priority;
}

/** struct sched_attr of sched_setattr(2), its first version. */
export const SCHED_ATTR_SIZE = 48;

/** `struct sched_attr` as sched_setattr(2) takes it. */
export function schedulerAttributes(scheduler: Scheduler): Uint8Array {
  const attr = Buffer.alloc(SCHED_ATTR_SIZE);
  attr.writeUInt32LE(SCHED_ATTR_SIZE, 0);
  attr.writeUInt32LE(constant(scheduler.policy), 4);
  const flags = (scheduler.flags ?? []).reduce((bits, name) => bits | constant(name), 0);
  attr.writeBigUInt64LE(BigInt(flags), 8);
  attr.writeInt32LE(scheduler.nice ?? 0, 16);
  attr.writeUInt32LE(scheduler.priority ?? 0, 20);
  attr.writeBigUInt64LE(BigInt(scheduler.runtime ?? 0), 24);
  attr.writeBigUInt64LE(BigInt(scheduler.deadline ?? 0), 32);
  attr.writeBigUInt64LE(BigInt(scheduler.period ?? 0), 40);
  return attr;
}

function constant(name: string): number {
  return C[name as keyof typeof C];
}

/** What set_mempolicy(2) takes: the mode with its flags, and the mask of nodes, undefined for none. */
export function memoryPolicyNumbers(policy: MemoryPolicy): { mode: number; nodes: Uint8Array | undefined } {
  const { mode, nodes = '', flags = [] } = policy;
  return {
    mode: flags.reduce((bits, name) => bits | constant(name), constant(mode)),
    nodes: nodes === '' ? undefined : cpuMask(nodes),
  };
}

/** Bytes of the largest mask that is ever given: CPUs 0 … 8191, as many as the kernel can be built for. */
const LAST_CPU = 8191;

/** Every CPU that there can be, of which the kernel leaves those that there are and that the cgroup allows. */
export function everyCpu(): Uint8Array {
  return Buffer.alloc((LAST_CPU + 1) / 8, 0xff);
}

/**
 * A list of CPUs such as `0-3,7` as the mask that sched_setaffinity(2) takes, or one of NUMA nodes for set_mempolicy(2).
 * @returns undefined when it is none (cpuset(7), "List format").
 */
export function cpuMask(list: string): Uint8Array | undefined {
  const ranges = list
    .trim()
    .split(',')
    .map((part) => /^(\d+)(?:-(\d+))?$/.exec(part.trim()));
  const cpus = new Set<number>();
  for (const range of ranges) {
    const first = Number(range?.[1]);
    const last = Number(range?.[2] ?? range?.[1]);
    if (!(first <= last && last <= LAST_CPU)) return undefined;
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  const mask = Buffer.alloc((Math.floor(Math.max(...cpus) / 64) + 1) * 8);
  for (const cpu of cpus) mask[cpu >> 3]! |= 1 << (cpu & 7);
  return mask;
}
