/**
 * Classes of the resource control filesystem (Documentation/filesystems/resctrl.rst), Intel's and AMD's: what share of a cache and of the
 * memory's bandwidth the tasks of a class have. `linux.intelRdt` of the spec, config-linux.md "IntelRdt".
 */
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SiltError } from '../../errors';
import type { IntelRdt } from '../../oci';
import { specInvalid } from './values';
import { errnoOf, isGone, readText, readTextIfPresent, writeText } from './virtual-file';

/** Plain data, fit for the state directory. */
export interface ResctrlGroup {
  /** The directory of the class. */
  readonly path: string;
  /** It is the container's alone, made for it and removed with it. */
  readonly own: boolean;
  /** A group in the class whose tasks are counted apart; made for the container and removed with it. */
  readonly monitor?: string;
}

export interface ResctrlPlan extends ResctrlGroup {
  /** Lines of the file `schemata` that the class is made with, or has if it is there; empty: it is what it is. */
  readonly schemata: readonly string[];
}

const AT = '$.linux.intelRdt';

/** The calls by which groups come and go: with the kernel's mkdir(2) the files of a group are there. */
export interface Directories {
  readonly mkdir: (path: string) => void;
  readonly rmdir: (path: string) => void;
}
const OF_THE_KERNEL: Directories = { mkdir: (path) => mkdirSync(path, 0o755), rmdir: (path) => rmdirSync(path) };

/**
 * Looks at the filesystem, and changes nothing.
 * @param mountPoint of the resctrl filesystem; undefined where none is mounted
 * @throws SiltError HOST_UNSUPPORTED, SPEC_INVALID for a class that must be there and is not, or whose name is the filesystem's own.
 */
export function planResctrl(wanted: IntelRdt, id: string, mountPoint: string | undefined): ResctrlPlan {
  if (mountPoint === undefined) {
    const message = `${AT}: no resctrl filesystem is mounted on this host; mount it (mount -t resctrl resctrl /sys/fs/resctrl) where processor and kernel have it, or leave it out`;
    throw new SiltError('HOST_UNSUPPORTED', message, { jsonPath: AT });
  }
  const { closID } = wanted;
  const path = resolve(mountPoint, `./${closID ?? id}`);
  const schemata = schemataOf(wanted);
  const present = isClass(path);
  if (closID !== undefined && !present && schemata.length === 0)
    throw specInvalid(`${AT}.closID`, `there is no ${path}, and without schemata it has to be made beforehand`);
  const monitored = wanted.enableMonitoring || wanted.enableCMT || wanted.enableMBM;
  return {
    path,
    own: closID === undefined && !present,
    schemata,
    ...(monitored && { monitor: join(path, 'mon_groups', id) }),
  };
}

/** The lines to be written: of `l3CacheSchema` those of MB give way to `memBwSchema`, as config-linux.md has it. */
export function schemataOf({ l3CacheSchema = '', memBwSchema = '', schemata = [] }: IntelRdt): string[] {
  const l3 = linesOf(l3CacheSchema).filter((line) => memBwSchema === '' || !/^\s*MB\s*:/i.test(line));
  return [...l3, ...[memBwSchema, ...schemata].flatMap(linesOf)];
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}

/** Whether a class is there. A file, and directories such as `info` that no task can be in, are the filesystem's own. @throws SiltError SPEC_INVALID for these. */
function isClass(path: string): boolean {
  if (!existsSync(path)) return false;
  if (existsSync(`${path}/tasks`)) return true;
  throw specInvalid(AT, `${path} is no class but the filesystem’s own; give closID another name`);
}

/** Every part of a line such as `L3:0=f;1=0f0` is in the file, which pads with blanks and zeros. */
function isInForce(line: string, present: string): boolean {
  const inForce = new Set(linesOf(present).flatMap(partsOf));
  return partsOf(line).every((part) => inForce.has(part));
}

function partsOf(line: string): string[] {
  const [, resource = '', values = ''] = /^\s*([^:]*):(.*)$/.exec(line.toLowerCase()) ?? [];
  return values.split(';').map((part) => `${resource.trim()}:${part.replace(/\s/g, '').replace(/=0+(?=.)/, '=')}`);
}

/**
 * Makes the groups. A class that is there is others' too: it is used, and not changed. To be called under the lock of the filesystem, without
 * which a class may be another's that is half made.
 * @throws SiltError SPEC_INVALID for a class that is another than wanted; SYSCALL_FAILED with what the kernel says of it. Nothing that was made is
 * left then.
 */
export function makeResctrl(plan: ResctrlPlan, directories = OF_THE_KERNEL): void {
  const present = isClass(plan.path);
  if (present) checkPresent(plan);
  const made: string[] = [];
  try {
    for (const path of [plan.path, plan.monitor]) {
      if (path === undefined || existsSync(path)) continue;
      asking(plan, `make the group ${path}`, () => directories.mkdir(path));
      made.push(path);
    }
    if (!present) writeSchemata(plan, plan.schemata);
  } catch (error) {
    for (const path of made.reverse()) removeGroup(path, directories);
    throw error;
  }
}

function checkPresent({ path, own, schemata }: ResctrlPlan): void {
  if (own) throw specInvalid(AT, `${path} was made by another meanwhile, and was to be the container’s own`);
  const inForce = readText(`${path}/schemata`);
  const different = schemata.find((line) => !isInForce(line, inForce));
  if (different !== undefined)
    throw specInvalid(AT, `${path} is there, and its schemata does not have ${JSON.stringify(different)}`);
}

/** Removes what is the container's alone; its tasks, if any are left, go to the class above. May be called again. @throws SiltError SYSCALL_FAILED. */
export function removeResctrl({ path, own, monitor }: ResctrlGroup, directories = OF_THE_KERNEL): void {
  if (own) removeGroup(path, directories);
  else if (monitor !== undefined) removeGroup(monitor, directories);
}

function removeGroup(path: string, { rmdir }: Directories): void {
  try {
    rmdir(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (isGone(errno)) return;
    throw new SiltError(
      'SYSCALL_FAILED',
      `cannot remove the group ${path}: ${errno}`,
      { path, errno },
      { cause: error },
    );
  }
}

/** Gives the class other shares; what the lines leave out stays. @throws SiltError SYSCALL_FAILED with what the kernel says of it. */
export function writeSchemata(group: ResctrlGroup, lines: readonly string[]): void {
  if (lines.length === 0) return;
  const text = lines.map((line) => `${line}\n`).join('');
  asking(group, `write ${JSON.stringify(text)} to ${group.path}/schemata`, () =>
    writeText(`${group.path}/schemata`, text),
  );
}

/** The files that a process writes `0` to to be in the groups. */
export function resctrlTasks({ path, monitor }: ResctrlGroup): string[] {
  return [path, ...(monitor === undefined ? [] : [monitor])].map((group) => `${group}/tasks`);
}

/**
 * The root of the filesystem that a class is in, itself a class (closID `/`). Who makes and changes groups has it locked by flock(2), as
 * resctrl.rst has it ("Notes on locking").
 */
export function resctrlRoot({ path }: ResctrlGroup): string {
  return existsSync(`${path}/info`) ? path : dirname(path);
}

/** An errno is all that a call gives; the reason is in a file. */
function asking(group: ResctrlGroup, what: string, call: () => void): void {
  try {
    call();
  } catch (error) {
    const errno = errnoOf(error);
    const said = readTextIfPresent(join(resctrlRoot(group), 'info/last_cmd_status'))?.trim();
    const { path } = group;
    const because = said === undefined || said === 'ok' ? '' : ` (${said})`;
    throw new SiltError('SYSCALL_FAILED', `cannot ${what}: ${errno}${because}`, { path, errno }, { cause: error });
  }
}
