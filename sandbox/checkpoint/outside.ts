/** What a container's processes have from outside of it: stdio, a terminal, mounts. CRIU has to be told of each. */
import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { SiltError } from '../../errors';
import { CHECKPOINT_FILE } from '../application';
import { Breath } from '../checkpoint-image/breath';
import type { OutsideFiles } from '../checkpoint-image/normalise';
import { CONTROLLING_TERMINAL, terminalKey } from '../checkpoint-image/terminals';
import { commandOf } from '../process/process';

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

/** A file that has no name any more: it lives as long as somebody has it open or mapped. */
export interface DeletedFile {
  /** CRIU's key of it. */
  readonly key: string;
  /** Where it can be read: a link in /proc. */
  readonly link: string;
  /** Its former path, for messages. */
  readonly path: string;
}

export interface Outside extends OutsideFiles {
  /** CRIU's keys of silt's terminal, and of /dev/tty where that may be it; none without one. */
  readonly terminals: readonly string[];
  /** CRIU's key of the checkpoint file that somebody has open. */
  readonly checkpointFile: string | undefined;
  readonly deleted: readonly DeletedFile[];
}

export interface OutsideSource {
  readonly pids: readonly number[];
  readonly mounts: readonly MountInfo[];
  /** Inodes of the files that the first process was given. */
  readonly stdio: readonly number[];
  /** Its pty is number 0 of the container's devpts. */
  readonly hasTerminal: boolean;
  /** Device of the upper, where the deleted files of a restored container lie. */
  readonly upperDevice: number;
}

/**
 * Looks through the open and mapped files of a container's processes.
 * @throws SiltError CHECKPOINT_FAILED naming process and file for one that a new container cannot be given.
 */
export async function findOutside(source: OutsideSource): Promise<Outside> {
  const { pids, mounts, hasTerminal } = source;
  const breath = new Breath();
  const ids = new Set(mounts.map(({ id }) => id));
  const keys = new Set<string>();
  const deleted = new Map<string, DeletedFile>();
  const terminals = new Set<string>();
  let checkpointFile: string | undefined;
  // That of a restored process was opened before its devpts was mounted anywhere.
  const devpts = mounts.find(({ type, point }) => type === 'devpts' && point === '/dev/pts');
  const ptys = devpts && deviceOf(devpts);
  const application = mounts.find(({ point }) => point === CHECKPOINT_FILE);
  for (const pid of pids) {
    for (const name of ['cwd', 'root']) refuseDeletedDirectory(pid, `/proc/${pid}/${name}`);
    for (const fd of fdsOf(pid)) {
      await breath.take();
      const link = `/proc/${pid}/fd/${fd}`;
      const target = linkOf(link);
      if (target === undefined || !target.startsWith('/') || target.startsWith('/memfd:')) continue;
      const mount = mountOf(pid, fd);
      const stat = statSync(link, { throwIfNoEntry: false });
      if (mount === undefined || stat === undefined) continue;
      if (hasTerminal && isTerminal(stat) && (ids.has(mount) || stat.dev === ptys)) {
        terminals.add(terminalKey(stat.rdev, stat.dev));
        continue;
      }
      if (application && stat.isCharacterDevice() && isPty(stat, application)) {
        checkpointFile = terminalKey(stat.rdev, stat.dev);
        continue;
      }
      const key = keyOf(mount, stat);
      if (stat.nlink === 0 && (ids.has(mount) || stat.dev === source.upperDevice)) {
        refuseDeletedDirectory(pid, link);
        if (stat.isFile()) deleted.set(key, { key, link, path: nameOf(target) });
        else if (!stat.isSocket())
          throw cannotSave(pid, `has the deleted ${nameOf(target)} open, which is no regular file`, target);
        continue;
      }
      if (ids.has(mount)) continue;
      if (stat.isDirectory() || !source.stdio.includes(stat.ino)) {
        const what = stat.isDirectory() ? `the directory ${target}` : target;
        throw cannotSave(pid, `has ${what} open, which is outside of the container and was not given to it`, target);
      }
      keys.add(key);
    }
    for (const name of namesIn(`/proc/${pid}/map_files`)) {
      await breath.take();
      const file = deletedMapping(`/proc/${pid}/map_files/${name}`);
      if (file !== undefined) deleted.set(file.key, file);
    }
  }
  const rest = { terminals: [...terminals], checkpointFile, deleted: [...deleted.values()] };
  return { keys: [...keys], inodes: source.stdio, ...rest };
}

function cannotSave(pid: number, what: string, path: string): SiltError {
  return new SiltError('CHECKPOINT_FAILED', `process ${pid} (${commandOf(pid)}) ${what}`, { path });
}

function refuseDeletedDirectory(pid: number, link: string): void {
  const stat = statSync(link, { throwIfNoEntry: false });
  if (!stat?.isDirectory() || stat.nlink > 0) return;
  const path = linkOf(link) ?? '';
  const how = /(cwd|root)$/.exec(link) ? 'is in' : 'has open';
  throw cannotSave(pid, `${how} the deleted directory ${nameOf(path)}, which cannot be brought back`, path);
}

/** How CRIU calls a file that it is not to look for (its `--external file[…]`). */
function keyOf(mount: number, { ino }: Stats): string {
  return `file[${mount.toString(16)}:${ino.toString(16)}]`;
}

function nameOf(target: string): string {
  return target.replace(/ \(deleted\)$/, '');
}

/** Memory of other kinds that looks like a deleted file: CRIU brings it back by itself. */
const NO_FILES = /^\/(memfd:|dev\/zero|SYSV|\[aio\]|anon_hugepage)/;

/** @param link of /proc/PID/map_files */
function deletedMapping(link: string): DeletedFile | undefined {
  const target = linkOf(link);
  if (target === undefined || !target.endsWith(' (deleted)') || NO_FILES.test(target)) return undefined;
  const stat = statSync(link, { throwIfNoEntry: false });
  if (!stat?.isFile() || stat.nlink > 0) return undefined;
  const fd = openSync(link, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const mount = mountOf('self', `${fd}`);
    return mount === undefined ? undefined : { key: keyOf(mount, stat), link, path: nameOf(target) };
  } finally {
    closeSync(fd);
  }
}

/** makedev(136, 0): the first pty of a devpts. */
const FIRST_PTY = 0x8800;

/** Whether it is, or may be, the terminal that silt has made in the container's devpts. */
function isTerminal(stat: Stats): boolean {
  return stat.isCharacterDevice() && (stat.rdev === FIRST_PTY || stat.rdev === CONTROLLING_TERMINAL);
}

/** Whether it is the pty that this mount shows, through whatever mount it was opened: silt opens that of a restored process. */
function isPty({ rdev, dev }: Stats, mount: MountInfo): boolean {
  return dev === deviceOf(mount) && rdev === FIRST_PTY + deviceNumber(0, Number(mount.root.slice(1)));
}

/** The device of what is in a mount, as stat(2) has it. */
export function deviceOf({ device }: MountInfo): number {
  const [major = 0, minor = 0] = device.split(':').map(Number);
  return deviceNumber(major, minor);
}

/** makedev(3). */
function deviceNumber(major: number, minor: number): number {
  return ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & ~0xff) << 12);
}

export function fdsOf(pid: number): string[] {
  return namesIn(`/proc/${pid}/fd`);
}

/** Empty for a process that is gone. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

export function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function mountOf(pid: number | 'self', fd: string): number | undefined {
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
