/** What /proc tells about processes, for leak checks and for finding the processes to kill. Races are answered with "gone". */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  /** One of the letters of proc(5), such as `S` or `Z`. */
  readonly state: string;
  /** Clock ticks since boot: with the pid it names a process for good. */
  readonly startTime: string;
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return otherwise;
  }
}

export function readProcess(pid: number): ProcessInfo | undefined {
  const stat = readOr(`/proc/${pid}/stat`, '');
  // The name stands in parentheses and may itself hold blanks and parentheses.
  const close = stat.lastIndexOf(')');
  if (close < 0) return undefined;
  const fields = stat.slice(close + 2).split(' ');
  return {
    pid,
    parent: Number(fields[1]),
    name: stat.slice(stat.indexOf('(') + 1, close),
    state: fields[0]!,
    startTime: fields[19]!,
  };
}

export function listProcesses(): ProcessInfo[] {
  const found: ProcessInfo[] = [];
  for (const name of readdirSync('/proc')) {
    const info = /^\d+$/.test(name) ? readProcess(Number(name)) : undefined;
    if (info !== undefined) found.push(info);
  }
  return found;
}

/** True while the process is there; a zombie has ended. */
export function isAlive(pid: number): boolean {
  const info = readProcess(pid);
  return info !== undefined && info.state !== 'Z';
}

export function commandLine(pid: number): string {
  return readOr(`/proc/${pid}/cmdline`, '').replaceAll('\0', ' ').trim();
}

export function environmentOf(pid: number): string {
  return readOr(`/proc/${pid}/environ`, '');
}

export function cgroupsOf(pid: number): string {
  return readOr(`/proc/${pid}/cgroup`, '');
}

export function executableOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return '';
  }
}

export function childrenOf(pid: number): number[] {
  return listProcesses()
    .filter(({ parent, state }) => parent === pid && state !== 'Z')
    .map((info) => info.pid);
}

/** Where the fds of a process lead, by number. */
export function openFiles(pid: number): Map<number, string> {
  const files = new Map<number, string>();
  let names: string[];
  try {
    names = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return files;
  }
  for (const name of names) {
    try {
      files.set(Number(name), readlinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // Closed since.
    }
  }
  return files;
}

/** The process that holds the listening unix socket with this path (as in /proc/net/unix), or undefined. */
export function ownerOfSocket(path: string): number | undefined {
  const inodes = new Set<string>();
  for (const line of readOr('/proc/net/unix', '').split('\n')) {
    // Num RefCount Protocol Flags Type St Inode Path; flag 10000 is a listening one.
    const fields = line.trim().split(/\s+/);
    if (fields[7] === path && fields[3] === '00010000') inodes.add(`socket:[${fields[6]!}]`);
  }
  return listProcesses().find(({ pid }) => [...openFiles(pid).values()].some((target) => inodes.has(target)))?.pid;
}

/** The pids of a process from the outermost pid namespace to its own. */
export function namespacePids(pid: number): number[] {
  const match = /^NSpid:\s+(.*)$/m.exec(readOr(`/proc/${pid}/status`, ''));
  return match === null ? [] : match[1]!.trim().split(/\s+/).map(Number);
}
