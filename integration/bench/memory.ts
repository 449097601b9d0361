/** What the processes of a containerd's pods have of memory. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Containerd } from '../harness/containerd';

export const mib = (bytes: number): string => (bytes / (1 << 20)).toFixed(2);

/** What processes take together, in bytes, shared pages in proportion (PSS, proc_pid_smaps(5)). */
export function sharesOf(pids: readonly string[]): number {
  return pids.reduce((sum, pid) => sum + fieldsOf(textOf(pid, 'smaps_rollup'), ['Pss']), 0);
}

/** The sum of fields of a smaps_rollup, in bytes. */
export function fieldsOf(rollup: string, names: readonly string[]): number {
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) * 1024;
  return names.reduce((sum, name) => sum + of(name), 0);
}

/** The shims of a runtime that this containerd has, and all that descends from them. */
export function processesOf(host: Containerd, runtime = 'silt'): string[] {
  const parents = new Map(
    readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => [pid, /^PPid:\s+(\d+)/m.exec(textOf(pid, 'status'))?.[1]]),
  ); // prettier-ignore
  const isShim = (pid: string): boolean => {
    const line = textOf(pid, 'cmdline');
    return line.includes(`containerd-shim-${runtime}-v`) && line.includes(`-address\0${host.paths.socket}\0`);
  };
  const known = new Map<string, boolean>();
  const belongs = (pid: string | undefined): boolean => {
    if (pid === undefined || pid === '0') return false;
    if (!known.has(pid)) known.set(pid, isShim(pid) || belongs(parents.get(pid)));
    return known.get(pid)!;
  };
  return [...parents.keys()].filter(belongs);
}

/** A file of a process; empty when the process is gone. */
export function textOf(pid: string, file: string): string {
  try {
    return readFileSync(join('/proc', pid, file), 'latin1');
  } catch {
    return '';
  }
}
