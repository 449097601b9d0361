/** The directory that a checkpoint becomes. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { SiltError } from '../../errors';
import { sync } from './manifest';

/** Where a checkpoint is written until it is complete. */
export interface Target {
  readonly path: string;
  readonly temporary: string;
  /** Gives the finished checkpoint its name. */
  finish(): Promise<void>;
  readonly finished: boolean;
  /** Takes away what was written, finished or not. */
  remove(): void;
}

/** @throws SiltError CHECKPOINT_EXISTS for a directory with anything in it, which is left as it is. */
export function claimTarget(imagePath: string): Target {
  const path = resolve(imagePath);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat && !stat.isDirectory())
    throw new SiltError('CHECKPOINT_EXISTS', `cannot write a checkpoint to ${path}: it is no directory`, { path });
  if (stat && readdirSync(path).length > 0) {
    const message = `cannot write a checkpoint to ${path}: it is not empty; choose another directory or remove it`;
    throw new SiltError('CHECKPOINT_EXISTS', message, { path });
  }
  const temporary = join(dirname(path), `${temporaryPrefix(path)}${process.pid}`);
  try {
    mkdirSync(dirname(path), { recursive: true });
    removeAbandoned(path);
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { mode: 0o700 });
  } catch (error) {
    throw new SiltError('REQUEST_INVALID', `cannot make the checkpoint's directory: ${(error as Error).message}`, {
      path,
    });
  }
  // At the end of this process CRIU may still be writing to it, until it finds that nobody answers.
  const remove = (): void =>
    rmSync(target.finished ? path : temporary, { recursive: true, force: true, maxRetries: 20, retryDelay: 10 });
  process.once('exit', remove);
  const target = {
    path,
    temporary,
    finished: false,
    finish: async () => {
      await sync(temporary);
      renameSync(temporary, path);
      target.finished = true;
      await sync(dirname(path));
      process.removeListener('exit', remove);
    },
    remove: () => {
      remove();
      process.removeListener('exit', remove);
    },
  };
  return target;
}

function temporaryPrefix(path: string): string {
  return `.${basename(path)}.silt-`;
}

/** What was half written when its writer was killed. */
function removeAbandoned(path: string): void {
  const prefix = temporaryPrefix(path);
  for (const name of readdirSync(dirname(path))) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : NaN;
    if (Number.isInteger(pid) && !existsSync(`/proc/${pid}`))
      rmSync(join(dirname(path), name), { recursive: true, force: true });
  }
}
