/** Who holds a lock on a file, as procfs has it. Pids are those of procfs's own pid namespace, whatever this process's is. */
import { fstatSync, readFileSync, readlinkSync } from 'node:fs';
import { parentOf } from '../process/process';

/**
 * The process that holds the flock(2) on an open file (proc_locks(5)); undefined when there is none, or none that can be seen. A filesystem
 * whose files have another device number in stat(2) than the kernel's own, as Btrfs, has none either.
 */
export function flockHolder(fd: number): number | undefined {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  // makedev(3): 12 bits of the major number above 8 of the minor, whose others are further up.
  const [major, minor] = [(dev >> 8n) & 0xfffn, (dev & 0xffn) | ((dev >> 12n) & 0xfff00n)];
  const hex = (number: bigint): string => number.toString(16).padStart(2, '0');
  const line = new RegExp(`^\\d+: FLOCK +ADVISORY +WRITE +(\\d+) ${hex(major)}:${hex(minor)}:${ino} `, 'm');
  const [, pid] = line.exec(textOf('/proc/locks')) ?? [];
  return pid === undefined || pid === '0' ? undefined : Number(pid);
}

/** Whether that process has started this one, or who did. One that is this very process is not meant. */
export function isAncestor(pid: number): boolean {
  let one = parentOf(Number(ownPid()));
  while (one !== undefined && one > 0 && one !== pid) one = parentOf(one);
  return one === pid;
}

/** The pid of this process. */
export function ownPid(): string {
  return readlinkSync('/proc/self');
}

/** A pid that {@link ownPid} gave another process, which has left it in a file; undefined without one. */
export function readPid(path: string): number | undefined {
  const text = textOf(path);
  return text === '' ? undefined : Number(text);
}

/** The command line of a process; empty when it is gone or cannot be seen. */
export function commandLineOf(pid: number): string[] {
  return textOf(`/proc/${pid}/cmdline`).split('\0').filter(Boolean);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
