/** What a container's processes have from outside of it: stdio, a terminal, mounts. CRIU has to be told of each. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { OutsideFiles } from './normalise';

/** One line of /proc/PID/mountinfo (proc(5)). */
export interface MountInfo {
  readonly id: number;
  readonly device: string;
  readonly root: string;
  readonly point: string;
  readonly type: string;
}

export function readMounts(pid: number): MountInfo[] {
  return parseMounts(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
}

export function parseMounts(text: string): MountInfo[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [id, , device = '', root = '', point = '', ...rest] = line.split(' ');
      return { id: Number(id), device, root, point: unescape(point), type: rest[rest.indexOf('-') + 1] ?? '' };
    });
}

/** Spaces, tabs, newlines and backslashes are octal in mountinfo. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

export interface Outside extends OutsideFiles {
  /** CRIU's key of silt's terminal; undefined without one. */
  readonly terminal: string | undefined;
}

/**
 * Looks through the open files of a container's processes.
 * @param stdio inodes of the pipes and sockets that the first process was given
 * @param hasTerminal its pty is number 0 of the container's devpts
 * @throws SiltError CHECKPOINT_FAILED naming process and file for one that a new container cannot be given.
 */
export function findOutside(
  pids: readonly number[],
  mounts: readonly MountInfo[],
  stdio: readonly number[],
  hasTerminal: boolean,
): Outside {
  const ids = new Set(mounts.map(({ id }) => id));
  const keys = new Set<string>();
  let terminal: string | undefined;
  for (const pid of pids) {
    for (const fd of fdsOf(pid)) {
      const target = linkOf(`/proc/${pid}/fd/${fd}`);
      if (target === undefined || !target.startsWith('/') || target.startsWith('/memfd:')) continue;
      const mount = mountOf(pid, fd);
      const stat = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false });
      if (mount === undefined || stat === undefined) continue;
      if (hasTerminal && stat.isCharacterDevice() && stat.rdev === FIRST_PTY && ids.has(mount)) {
        terminal = `tty[${stat.rdev.toString(16)}:${stat.dev.toString(16)}]`;
        continue;
      }
      if (ids.has(mount) && stat.isFile() && stat.nlink === 0) {
        const message = `process ${pid} (${commandOf(pid)}) has the deleted file ${target.replace(/ \(deleted\)$/, '')} open, which cannot be brought back yet`;
        throw new SiltError('CHECKPOINT_FAILED', message, { path: target });
      }
      if (ids.has(mount)) continue;
      if (stat.isDirectory()) {
        const message = `process ${pid} has the directory ${target} open, which is outside of the container`;
        throw new SiltError('CHECKPOINT_FAILED', message, { path: target });
      }
      keys.add(`file[${mount.toString(16)}:${stat.ino.toString(16)}]`);
    }
  }
  return { keys: [...keys], inodes: stdio, terminal };
}

/** makedev(136, 0): the first pty of a devpts. */
const FIRST_PTY = 0x8800;

function fdsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function mountOf(pid: number, fd: string): number | undefined {
  try {
    const id = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'))?.[1];
    return id === undefined ? undefined : Number(id);
  } catch {
    return undefined;
  }
}

/** Which of these processes are not descendants of `root`: CRIU does not see them. */
export function strangers(pids: readonly number[], root: number): number[] {
  const parents = new Map(pids.map((pid) => [pid, parentOf(pid)]));
  const belongs = (pid: number | undefined): boolean => {
    for (let at = pid, steps = 0; at !== undefined && steps < 4096; at = parents.get(at), steps++)
      if (at === root) return true;
    return false;
  };
  return pids.filter((pid) => parents.get(pid) !== undefined && !belongs(pid));
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
  } catch {
    return undefined;
  }
}

/** The pids of a process in each of its pid namespaces, the host's first. */
export function namespacePids(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1');
  return (/^NSpid:\s*(.*)$/m.exec(text)?.[1] ?? '').split(/\s+/).map(Number);
}

/** Name of a program, for messages. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '?';
  }
}
