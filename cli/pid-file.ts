import { renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SiltError } from '../errors';

/** Writes a process's pid for an engine, aside and renamed: whoever finds the name finds the number. @throws SiltError. */
export function writePidFile(path: string | undefined, pid: number): void {
  if (path === undefined) return;
  const temporary = join(dirname(path), `.${basename(path)}`);
  try {
    writeFileSync(temporary, `${pid}`, { mode: 0o644 });
    renameSync(temporary, path);
  } catch (error) {
    const message = `cannot write the pid file ${path}: ${(error as Error).message}`;
    throw new SiltError('REQUEST_INVALID', message, { path }, { cause: error });
  }
}
