import { findUnifiedDirectory, membershipDirectory, type Cgroup } from './cgroup';
import { freeze, readFreezerState, thaw } from './freezer';
import { errnoOf, isGone, listEntries, readTextIfPresent, writeControl } from './virtual-file';
import { retryWithin } from './waiting';
import { SiltError } from '../../errors';

/** Time that {@link killAll} may take when the caller does not say. */
export const KILL_TIMEOUT_MS = 5000;
/** How long one round of signals waits for its freeze; without it the signals are sent all the same. */
const FREEZE_PATIENCE_MS = 50;
/** Pause after which processes that are still there get the signal again: they may have been forked in between. */
const ROUND_MS = 200;

/** Paths of the cgroups beneath a directory, children before parents. Empty when the directory is gone. */
export function listDescendants(directory: string): string[] {
  return listEntries(directory)
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => [...listDescendants(`${directory}/${entry.name}`), `${directory}/${entry.name}`]);
}

function readPids(directory: string): number[] {
  let text;
  try {
    text = readTextIfPresent(`${directory}/cgroup.procs`) ?? '';
  } catch (error) {
    // A threaded v2 cgroup answers EOPNOTSUPP; its processes are listed in the domain above.
    if (error instanceof SiltError && error.details.errno === 'EOPNOTSUPP') return [];
    throw error;
  }
  // 0 stands for a process of a pid namespace that this one cannot see.
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
}

/**
 * Process ids in the container's cgroup and in cgroups that it made beneath, ascending, as seen from silt's pid
 * namespace.
 */
export function listPids(cgroup: Cgroup): number[] {
  const { path } = membershipDirectory(cgroup);
  const all = [path, ...listDescendants(path)].flatMap(readPids);
  return [...new Set(all)].sort((a, b) => a - b);
}

function sendSignal(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ESRCH') return;
    const details = { syscall: 'kill', errno };
    throw new SiltError('SYSCALL_FAILED', `cannot send ${signal} to process ${pid}: ${errno}`, details, {
      cause: error,
    });
  }
}

function refuseOwnProcess(pids: readonly number[], cgroup: Cgroup): void {
  if (!pids.includes(process.pid)) return;
  const { path } = membershipDirectory(cgroup);
  throw new SiltError('INTERNAL', `silt itself (pid ${process.pid}) is in cgroup ${path}: nothing was signalled`, {
    path,
  });
}

/**
 * Keeps a container frozen until the function that it gives is called; gives none when the container is to be left as it is.
 * @throws when it does not freeze in time, or cannot be.
 */
export type KeepFrozen = (timeoutMs: number) => Promise<(() => unknown) | undefined>;

/**
 * Sends a signal to every process of the container. They are frozen meanwhile, so that none forks away from under the
 * list and no pid on it changes hands (SIGKILL waits there until the thaw on v1).
 * @param keepFrozen knows of others who want it frozen, and thaws it also when this process dies in between
 * Raises SYSCALL_FAILED, INTERNAL when silt itself is in the cgroup. A container that does not freeze, for whatever reason, is
 * signalled all the same.
 */
export async function signalAll(
  cgroup: Cgroup,
  signal: NodeJS.Signals | number,
  keepFrozen: KeepFrozen,
): Promise<void> {
  // Before the freeze, which would stop silt too.
  refuseOwnProcess(listPids(cgroup), cgroup);
  // Without a freezer, or a cgroup, as it is.
  const stands = readFreezerState(cgroup) === undefined ? undefined : keepFrozen(FREEZE_PATIENCE_MS);
  const goOn = await stands?.catch(() => undefined);
  try {
    for (const pid of listPids(cgroup)) sendSignal(pid, signal);
  } finally {
    await goOn?.();
  }
}

/**
 * cgroup.kill (Linux 5.14) of the unified hierarchy: one atomic stroke for what is in there. Returns whether it is
 * there.
 */
function killUnified(cgroup: Cgroup): boolean {
  const directory = findUnifiedDirectory(cgroup)?.path;
  if (directory === undefined) return false;
  try {
    writeControl(`${directory}/cgroup.kill`, '1');
    return true;
  } catch (error) {
    if (error instanceof SiltError && isGone(error.details.errno ?? '')) return false;
    throw error;
  }
}

/** Another may remove the cgroup meanwhile: then there is nobody to thaw. */
function thawIfThere(cgroup: Cgroup): void {
  try {
    thaw(cgroup);
  } catch (error) {
    if (!(error instanceof SiltError) || !isGone(error.details.errno ?? '')) throw error;
  }
}

/** For who kills and thaws in any case: what dies in between leaves processes that die with the next kill. */
function frozenHere(cgroup: Cgroup): KeepFrozen {
  return async (timeoutMs) => {
    await freeze(cgroup, { timeoutMs });
    return () => thawIfThere(cgroup);
  };
}

/**
 * Kills every process of the container, frozen ones too, whoever wants them frozen, and returns when none is left. Without a unified
 * hierarchy, and for what has not entered it, rounds of {@link signalAll} are sent until the cgroup is empty.
 * Raises TIMEOUT naming the pids that are left, SYSCALL_FAILED, INTERNAL when silt itself is in the cgroup.
 */
export async function killAll(
  cgroup: Cgroup,
  {
    timeoutMs = KILL_TIMEOUT_MS,
    keepFrozen = frozenHere(cgroup),
  }: { readonly timeoutMs?: number; readonly keepFrozen?: KeepFrozen } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const present = listPids(cgroup);
  if (present.length === 0) return;
  refuseOwnProcess(present, cgroup);
  const isEmpty = (): boolean => listPids(cgroup).length === 0;
  let signalled = killUnified(cgroup);
  do {
    if (!signalled) await signalAll(cgroup, 'SIGKILL', keepFrozen);
    signalled = cgroup.mode === 'v2' && signalled;
    // A frozen process of v1 dies only once it is thawed; on v2 the signal ends the freeze by itself.
    if (cgroup.mode !== 'v2' && readFreezerState(cgroup) !== undefined) thawIfThere(cgroup);
    const left = deadline - performance.now();
    if (await retryWithin(Math.min(left, ROUND_MS), isEmpty)) return;
  } while (performance.now() < deadline);
  const pids = listPids(cgroup);
  if (pids.length === 0) return;
  const { path } = membershipDirectory(cgroup);
  const message = `cgroup ${path} still has ${pids.length} processes ${timeoutMs} ms after SIGKILL: ${pids.slice(0, 8).join(', ')}. They may be stuck in the kernel`;
  throw new SiltError('TIMEOUT', message, { path });
}
