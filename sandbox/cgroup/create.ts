import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { membershipDirectory } from './cgroup';
import type { Inheritance } from './cpuset';
import { readFreezerState } from './freezer';
import type { CgroupPlan } from './plan';
import { listPids } from './processes';
import type { Write } from './values';
import { errnoOf, explainWrite, isGone, readText, readTextIfPresent, writeControl, writeText } from './virtual-file';
import { SiltError } from '../../errors';

const MODE = 0o755;

/** Makes the directories that are not there and says which. */
function makeDirectories(directories: readonly string[], created: string[]): void {
  for (const directory of directories) {
    if (existsSync(directory)) continue;
    try {
      mkdirSync(directory, MODE);
      created.push(directory);
    } catch (error) {
      const errno = errnoOf(error);
      // Another container of the same parent was quicker.
      if (errno === 'EEXIST') continue;
      const meaning =
        { ENOSPC: ' (cgroup.max.descendants is reached)', EAGAIN: ' (cgroup.max.depth is reached)' }[errno] ?? '';
      throw new SiltError(
        'SYSCALL_FAILED',
        `cannot make cgroup ${directory}: ${errno}${meaning}`,
        { path: directory, syscall: 'mkdir', errno },
        { cause: error },
      );
    }
  }
}

/** Switches controllers on, one by one where not all at once can be. Gives back what failed, for later messages. */
function delegate(delegations: readonly Write[]): string[] {
  const failures: string[] = [];
  for (const { file, value } of delegations) {
    try {
      writeText(file, value);
      continue;
    } catch (error) {
      errnoOf(error);
    }
    for (const one of value.split(' ')) {
      try {
        writeText(file, one);
      } catch (error) {
        failures.push(explainWrite({ file, value: one, error }).message);
      }
    }
  }
  return failures;
}

function inherit({ file, from }: Inheritance): void {
  if (readText(file).trim() !== '') return;
  const value = readText(from).trim();
  if (value !== '') writeControl(file, value);
}

function tryWrite(file: string, value: string): unknown {
  try {
    writeText(file, value);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** How far the cgroup is from the limit that the kernel refused. */
function usageNote(file: string): string {
  const match = /^(.*\/memory\.(?:memsw\.)?)limit_in_bytes$/.exec(file);
  if (match === null) return '';
  const usage = readTextIfPresent(`${match[1]!}usage_in_bytes`)?.trim();
  const peak = readTextIfPresent(`${match[1]!}max_usage_in_bytes`)?.trim();
  return usage === undefined ? '' : `usage ${usage}, peak ${peak ?? 'unknown'}`;
}

/**
 * Carries out writes in order and stops at the first that fails.
 * Raises SYSCALL_FAILED naming file, value and errno, and SPEC_UNSUPPORTED when the file is not there: then this kernel
 * (or, on v2, the parent cgroup) does not offer the limit. `notes` goes into that message.
 */
export function applyWrites(writes: readonly Write[], notes: readonly string[] = []): void {
  for (const write of writes) {
    let { file, value } = write;
    let error = tryWrite(file, value);
    if (error !== undefined && isGone(errnoOf(error)) && !existsSync(file) && write.otherwise !== undefined) {
      ({ file, value } = write.otherwise);
      error = tryWrite(file, value);
    }
    if (error === undefined) continue;
    const missing = isGone(errnoOf(error)) && !existsSync(file);
    if (missing && write.optional === true) continue;
    const details = { path: file, ...(write.jsonPath === undefined ? {} : { jsonPath: write.jsonPath }) };
    if (missing && existsSync(path.dirname(file))) {
      const because = notes.length === 0 ? '' : `; ${notes.join('; ')}`;
      const message = `${write.why} (${write.jsonPath ?? value}): this host has no ${file}${because}`;
      throw new SiltError('SPEC_UNSUPPORTED', message, { ...details, errno: 'ENOENT' }, { cause: error });
    }
    const explained = explainWrite({ file, value, error, note: errnoOf(error) === 'EBUSY' ? usageNote(file) : '' });
    const message = `${write.why}: ${explained.message}`;
    throw new SiltError(explained.code, message, { ...explained.details, ...details }, { cause: error });
  }
}

/**
 * A container must not start in a cgroup that somebody else uses, nor in a frozen one, where its first process would
 * hang.
 */
function checkUsable(plan: CgroupPlan, created: readonly string[], holder: number | undefined): void {
  const { cgroup } = plan;
  const leaf = membershipDirectory(cgroup).path;
  const pids = created.includes(leaf) ? [] : listPids(cgroup).filter((pid) => pid !== holder);
  if (pids.length > 0) {
    const message = `container's cgroup is not empty: ${leaf} holds the processes ${pids.slice(0, 8).join(', ')}; give the container one of its own`;
    throw new SiltError('CONTAINER_EXISTS', message, { path: leaf, jsonPath: '$.linux.cgroupsPath' });
  }
  const state = readFreezerState(cgroup);
  if (state !== undefined && state !== 'thawed') {
    throw new SiltError(
      'WRONG_STATE',
      `container's cgroup unexpectedly frozen: ${leaf} or one above it; thaw it first`,
      { path: leaf },
    );
  }
}

/**
 * Removes directories that {@link createCgroup} reported, newest first; what cannot be removed is given back with its
 * errno.
 */
export function removeCreated(created: readonly string[]): string[] {
  const left: string[] = [];
  for (const directory of [...created].reverse()) {
    try {
      rmdirSync(directory);
    } catch (error) {
      const errno = errnoOf(error);
      if (!isGone(errno)) left.push(`${directory}: ${errno}`);
    }
  }
  return left;
}

/**
 * Makes a container's cgroup as planned, without a process in it yet. On failure everything that it made is removed
 * again, and nothing else. The BPF program of the plan is the caller's to attach. `holder` is a process that may be in it already.
 * Returns the directories that were made, parents included, for {@link removeCreated}.
 * Raises SYSCALL_FAILED, SPEC_UNSUPPORTED, CONTAINER_EXISTS, WRONG_STATE.
 */
export function createCgroup(plan: CgroupPlan, holder?: number): string[] {
  const created: string[] = [];
  try {
    makeDirectories(plan.directories, created);
    checkUsable(plan, created, holder);
    const failures = delegate(plan.delegations);
    plan.inheritances.forEach(inherit);
    applyWrites(plan.writes, failures);
    return created;
  } catch (error) {
    const left = removeCreated(created);
    if (left.length === 0 || !(error instanceof SiltError)) throw error;
    const message = `${error.message}; and could not remove again ${left.join(', ')}`;
    throw new SiltError(error.code, message, error.details, { cause: error });
  }
}
