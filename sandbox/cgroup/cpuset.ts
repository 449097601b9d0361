import path from 'node:path';
import { findDirectory, requireDirectory, type Cgroup } from './cgroup';
import { specInvalid, type Planning, type Write } from './values';
import type { CpuLimits } from '../../oci';

/** A cpuset file of v1 that takes over its parent's value while it is still empty. */
export interface Inheritance {
  readonly file: string;
  readonly from: string;
}

/** The kernel's list format (bitmap_parselist): `0-3,7`, and `0-31:2/4` for the first 2 of every 4. */
const LIST = /^\d+(-\d+(:\d+\/\d+)?)?(,\d+(-\d+(:\d+\/\d+)?)?)*$/;

function checkList(list: string, jsonPath: string): string {
  const compact = list.replace(/\s+/g, '');
  if (!LIST.test(compact)) throw specInvalid(jsonPath, `${JSON.stringify(list)} is no list such as 0-3,7`);
  for (const range of compact.split(',')) {
    const [first, last] = range.split(/[-:]/);
    if (last !== undefined && BigInt(first!) > BigInt(last))
      throw specInvalid(jsonPath, `the range ${range} runs backwards`);
  }
  return compact;
}

/** `cpu.cpus` and `cpu.mems`. Raises SPEC_INVALID for what is no list, SPEC_UNSUPPORTED without a cpuset controller. */
export function planCpuset(cpu: CpuLimits, { cgroup, at }: Planning): Write[] {
  const writes: Write[] = [];
  for (const field of ['cpus', 'mems'] as const) {
    const list = cpu[field];
    if (list === undefined || list === '') continue;
    const jsonPath = `${at}.cpu.${field}`;
    const value = checkList(list, jsonPath);
    const directory = requireDirectory(cgroup, 'cpuset', jsonPath).path;
    writes.push({ file: `${directory}/cpuset.${field}`, value, why: `cpuset ${field}`, jsonPath });
  }
  return writes;
}

/** The directories from the one below the mount point down to this one. */
export function directoriesDownTo(directory: { readonly mountPoint: string; readonly path: string }): string[] {
  const names = path.posix.relative(directory.mountPoint, directory.path).split('/');
  return names.map((_, index) => path.posix.join(directory.mountPoint, ...names.slice(0, index + 1)));
}

/**
 * v1: a new cpuset is empty and lets no process in (ENOSPC) until it has CPUs and memory nodes, so each level takes
 * over its parent's, top down. The leaf does so only for what the spec does not say.
 */
export function planInheritance(cgroup: Cgroup, cpu: CpuLimits | undefined): Inheritance[] {
  const directory = findDirectory(cgroup, 'cpuset');
  if (directory?.version !== 1) return [];
  return directoriesDownTo(directory).flatMap((level) =>
    (['cpus', 'mems'] as const)
      .filter((field) => level !== directory.path || cpu?.[field] === undefined || cpu[field] === '')
      .map((field) => ({ file: `${level}/cpuset.${field}`, from: `${path.posix.dirname(level)}/cpuset.${field}` })),
  );
}
