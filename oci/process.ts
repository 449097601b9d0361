import { C } from '../syscall';
import type { Rlimit } from './spec';

/** A resource limit in the kernel's numbers; 2^64-1 is no limit. */
export interface RlimitNumbers {
  readonly name: string;
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
  /** What /proc/PID/limits calls it. */
  readonly procName: string;
}

/** Names of the spec, and those of /proc/PID/limits (fs/proc/base.c). */
const PROC_NAMES: Readonly<Record<string, string>> = {
  RLIMIT_CPU: 'Max cpu time',
  RLIMIT_FSIZE: 'Max file size',
  RLIMIT_DATA: 'Max data size',
  RLIMIT_STACK: 'Max stack size',
  RLIMIT_CORE: 'Max core file size',
  RLIMIT_RSS: 'Max resident set',
  RLIMIT_NPROC: 'Max processes',
  RLIMIT_NOFILE: 'Max open files',
  RLIMIT_MEMLOCK: 'Max locked memory',
  RLIMIT_AS: 'Max address space',
  RLIMIT_LOCKS: 'Max file locks',
  RLIMIT_SIGPENDING: 'Max pending signals',
  RLIMIT_MSGQUEUE: 'Max msgqueue size',
  RLIMIT_NICE: 'Max nice priority',
  RLIMIT_RTPRIO: 'Max realtime priority',
  RLIMIT_RTTIME: 'Max realtime timeout',
};

export const RLIMIT_NAMES: readonly string[] = Object.keys(PROC_NAMES);

/** The limits of a checked spec as numbers for prlimit(2). */
export function rlimitNumbers(rlimits: readonly Rlimit[]): RlimitNumbers[] {
  return rlimits.map(({ type, soft, hard }) => ({
    name: type,
    resource: C[type as keyof typeof C],
    soft: BigInt(soft),
    hard: BigInt(hard),
    procName: PROC_NAMES[type]!,
  }));
}

/** What shells and libc search without a PATH in the environment. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Where a program may lie, in the order to try. A name with a slash is used as it is; any other is looked for in the
 * directories of the environment's PATH (the last one given), an empty element being the working directory, as Go's
 * exec.LookPath and so runc have it. A PATH that is set but empty finds nothing; without one it is the usual directories.
 */
export function execCandidates(name: string, env: readonly string[]): string[] {
  if (name === '') return [];
  if (name.includes('/')) return [name];
  const entry = env.findLast((one) => one.startsWith('PATH='));
  const path = entry === undefined ? DEFAULT_PATH : entry.slice('PATH='.length);
  if (path === '') return [];
  return path.split(':').map((directory) => (directory === '' ? `./${name}` : join(directory, name)));
}

function join(directory: string, name: string): string {
  return directory.endsWith('/') ? `${directory}${name}` : `${directory}/${name}`;
}

/** The environment with the last entry of each name only, in order, as runc hands it to the program. */
export function uniqueEnv(env: readonly string[]): string[] {
  const last = new Map<string, number>();
  env.forEach((entry, i) => last.set(entry.slice(0, entry.indexOf('=')), i));
  return env.filter((entry, i) => last.get(entry.slice(0, entry.indexOf('='))) === i);
}
