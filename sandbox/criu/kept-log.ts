/**
 * Logs of CRIU that outlive it: in the work path that the caller named, as CRIU itself would have them, or, of what has failed,
 * among silt's own, where the latest are kept.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { siltRoot } from '../state/root';
import { type WorkPath, writeInWorkPath } from './work-path';

export interface LogSubject {
  readonly id: string;
  readonly what: 'dump' | 'restore';
  readonly workPath: WorkPath | undefined;
}

/** How many logs of failures are kept. */
const KEPT = 32;

const directory = (): string => join(siltRoot(), 'criu-logs');

/** Keeps the log of what went well, which only a caller with a work path wants. */
export function keepLog(log: string, { what, workPath }: LogSubject): void {
  if (workPath !== undefined) write(workPath, `${what}.log`, log);
}

/** Keeps the log of what has failed, and adds to the error where it is. */
export function keepFailure(log: string, subject: LogSubject, error: unknown): unknown {
  if (log === '') return error;
  const { id, what, workPath } = subject;
  const isCriu = error instanceof SiltError && error.code === 'CHECKPOINT_FAILED';
  if (!isCriu) {
    keepLog(log, subject);
    return error;
  }
  const [place, name] = workPath ? [workPath, `${what}.log`] : [{ path: directory() }, `${id}-${what}.log`];
  if (!write(place, name, log)) return error;
  const path = join(place.path, name);
  if (workPath === undefined) dropOldest();
  const message = `${error.message}; CRIU's log is ${path}`;
  return new SiltError(error.code, message, { ...error.details, path }, { cause: error });
}

/** CRIU's figures of a dump (images/stats.proto). */
const STATISTICS = 'stats-dump';

/** Moves them from the checkpoint to the work path, where CRIU would have left them; containerd's CRI asks for them there. */
export function keepStatistics(images: string, workPath: WorkPath | undefined): void {
  const path = join(images, STATISTICS);
  if (!existsSync(path)) return;
  if (workPath !== undefined) write(workPath, STATISTICS, readFileSync(path));
  rmSync(path);
}

/** A log that cannot be written must not hide why it was to be. */
function write(place: WorkPath, name: string, log: string | Buffer): boolean {
  try {
    writeInWorkPath(place, name, log);
    return true;
  } catch {
    return false;
  }
}

function dropOldest(): void {
  const files = readdirSync(directory()).flatMap((name) => {
    const path = join(directory(), name);
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat ? [{ path, time: stat.mtimeMs }] : [];
  });
  for (const { path } of files.sort((a, b) => b.time - a.time).slice(KEPT)) rmSync(path, { force: true });
}
