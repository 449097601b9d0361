/** How many open file descriptions of a file some processes have. */
import { readdirSync, type Stats, statSync } from 'node:fs';
import { type Kernel, ProgramBuilder } from '../../syscall';

interface OpenFile {
  readonly pid: number;
  readonly fd: number;
}

/** kcmp(2). */
const KCMP_FILE = 0;

/** Fds of one description, which fork(2) and dup(2) make, count once. @param file what stat(2) says of it */
export function countDescriptions(kernel: Kernel, pids: readonly number[], { dev, rdev, ino }: Stats): number {
  const found: OpenFile[] = [];
  for (const pid of pids) {
    for (const fd of fdsOf(pid)) {
      const stat = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false });
      if (stat?.dev !== dev || stat.rdev !== rdev || stat.ino !== ino) continue;
      const one = { pid, fd: Number(fd) };
      if (!found.some((other) => isSame(kernel, one, other))) found.push(one);
    }
  }
  return found.length;
}

function fdsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    // It has ended.
    return [];
  }
}

function isSame(kernel: Kernel, one: OpenFile, other: OpenFile): boolean {
  const p = new ProgramBuilder();
  const order = p.slot('order');
  p.step('comparing open files');
  p.call('kcmp', [one.pid, other.pid, KCMP_FILE, one.fd, other.fd], { out: order, tolerate: 'all' });
  return kernel.run(p.build()).get(order) === 0;
}
