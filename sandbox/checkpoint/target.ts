/** The directory that a checkpoint becomes. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { SiltError } from '../../errors';
import { MANIFEST } from '../checkpoint-image/manifest';
import { POD_MANIFEST } from '../checkpoint-image/pod';
import { sync, unverified } from '../checkpoint-image/sealed';

/** So that two checkpoints that this process writes to one path at once do not share a temporary name. */
let claimed = 0;

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

/** @throws SiltError CHECKPOINT_EXISTS for a directory with anything in it, or within another checkpoint; it is left as it is. */
export function claimTarget(imagePath: string): Target {
  const path = resolve(imagePath);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat && !stat.isDirectory())
    throw new SiltError('CHECKPOINT_EXISTS', `cannot write a checkpoint to ${path}: it is no directory`, { path });
  if (stat && readdirSync(path).length > 0) {
    const message = `cannot write a checkpoint to ${path}: it is not empty; choose another directory or remove it`;
    throw new SiltError('CHECKPOINT_EXISTS', message, { path });
  }
  refuseWithin(path);
  const temporary = join(dirname(path), `${temporaryPrefix(path)}${process.pid}-${++claimed}`);
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
      rename(temporary, path);
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

function rename(temporary: string, path: string): void {
  try {
    renameSync(temporary, path);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    const message = `cannot write a checkpoint to ${path}: another has been written there meanwhile; choose another directory`;
    throw new SiltError('CHECKPOINT_EXISTS', message, { path }, { cause: error });
  }
}

function temporaryPrefix(path: string): string {
  return `.${basename(path)}.silt-`;
}

/** A file more, a directory in a manifest's place, and a checkpoint cannot be restored any more. */
function refuseWithin(path: string): void {
  for (let parent = dirname(path); parent !== dirname(parent); parent = dirname(parent)) {
    if (!isCheckpoint(parent)) continue;
    const message = `cannot write a checkpoint to ${path}: ${parent} is a checkpoint itself; choose a directory outside of it`;
    throw new SiltError('CHECKPOINT_EXISTS', message, { path });
  }
}

/** By what its manifest says: others have files called pod.json, too. A damaged one is not written to either. */
function isCheckpoint(directory: string): boolean {
  return [MANIFEST, POD_MANIFEST].some((name) => {
    try {
      const text = readFileSync(join(directory, name), 'utf8');
      const manifest: Partial<Record<string, unknown>> = { ...unverified(text) };
      const { version, containers, silt } = manifest;
      return typeof version === 'number' && (typeof silt === 'string' || Array.isArray(containers));
    } catch {
      return false;
    }
  });
}

/** What was half written when its writer was killed. */
function removeAbandoned(path: string): void {
  const prefix = temporaryPrefix(path);
  for (const name of readdirSync(dirname(path))) {
    const [, pid] = (name.startsWith(prefix) && /^(\d+)(-\d+)?$/.exec(name.slice(prefix.length))) || [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(dirname(path), name), { recursive: true, force: true });
  }
}
