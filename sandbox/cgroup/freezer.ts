import { findDirectory, findUnifiedDirectory, type Cgroup } from './cgroup';
import { readTextIfPresent, writeControl } from './virtual-file';
import { retryWithin } from './waiting';
import { SiltError } from '../../errors';

/** `freezing`: asked for, but some process still runs (one in a system call that cannot be interrupted, say). */
export type FreezerState = 'thawed' | 'freezing' | 'frozen';

/** Time that a freeze may take when the caller does not say. */
export const FREEZE_TIMEOUT_MS = 2000;

type Freezer = { readonly version: 1 | 2; readonly path: string };

/** Hybrid: the v1 freezer, where the processes are known to be. */
function findFreezer(cgroup: Cgroup): Freezer | undefined {
  return cgroup.mode === 'v2' ? findUnifiedDirectory(cgroup) : findDirectory(cgroup, 'freezer');
}

function requireFreezer(cgroup: Cgroup): Freezer {
  const freezer = findFreezer(cgroup);
  if (freezer !== undefined) return freezer;
  throw new SiltError(
    'HOST_UNSUPPORTED',
    'the cgroup v1 controller freezer is not mounted: containers cannot be paused here',
  );
}

const wordState: Readonly<Record<string, FreezerState>> = { THAWED: 'thawed', FREEZING: 'freezing', FROZEN: 'frozen' };

function readStateV1(directory: string): FreezerState | undefined {
  const word = readTextIfPresent(`${directory}/freezer.state`)?.trim();
  return word === undefined ? undefined : wordState[word];
}

/** cgroup.events tells what is, cgroup.freeze only what was asked for. */
function readStateV2(directory: string): FreezerState | undefined {
  const events = readTextIfPresent(`${directory}/cgroup.events`);
  if (events === undefined) return undefined;
  if (/^frozen 1$/m.test(events)) return 'frozen';
  return readTextIfPresent(`${directory}/cgroup.freeze`)?.trim() === '1' ? 'freezing' : 'thawed';
}

/**
 * What the container's processes feel, whoever froze them: the container's own cgroup or one above it. undefined
 * without a freezer, or when the cgroup is gone.
 */
export function readFreezerState(cgroup: Cgroup): FreezerState | undefined {
  const freezer = findFreezer(cgroup);
  if (freezer === undefined) return undefined;
  return freezer.version === 1 ? readStateV1(freezer.path) : readStateV2(freezer.path);
}

/**
 * Whether this container was paused, and is stopped. A freeze further up does not count: {@link thaw} could not end it.
 */
export function isFrozen(cgroup: Cgroup): boolean {
  const freezer = findFreezer(cgroup);
  if (freezer === undefined || readFreezerState(cgroup) !== 'frozen') return false;
  const own = freezer.version === 1 ? 'freezer.self_freezing' : 'cgroup.freeze';
  return readTextIfPresent(`${freezer.path}/${own}`)?.trim() !== '0';
}

/**
 * Stops every process of the container. v1 (freezer-subsystem.txt): FREEZING has to become FROZEN, and processes that
 * keep forking may need the word again, so it is written anew at every look.
 * On timeout or error the cgroup is thawed again: half frozen is no state to leave a container in.
 * Raises TIMEOUT, SYSCALL_FAILED, HOST_UNSUPPORTED.
 */
export async function freeze(cgroup: Cgroup, { timeoutMs = FREEZE_TIMEOUT_MS } = {}): Promise<void> {
  const freezer = requireFreezer(cgroup);
  const [file, value] = freezer.version === 1 ? ['freezer.state', 'FROZEN'] : ['cgroup.freeze', '1'];
  try {
    const frozen = await retryWithin(timeoutMs, () => {
      writeControl(`${freezer.path}/${file}`, value);
      return readFreezerState(cgroup) === 'frozen';
    });
    if (!frozen) {
      const message = `cgroup ${freezer.path} did not freeze within ${timeoutMs} ms; it was thawed again. A process may be stuck in the kernel`;
      throw new SiltError('TIMEOUT', message, { path: freezer.path });
    }
  } catch (error) {
    thawQuietly(freezer);
    throw error;
  }
}

function thawQuietly(freezer: Freezer): void {
  try {
    writeThaw(freezer);
  } catch (error) {
    // The failure that led here is the one to report.
    if (!(error instanceof SiltError)) throw error;
  }
}

function writeThaw(freezer: Freezer): void {
  if (freezer.version === 1) writeControl(`${freezer.path}/freezer.state`, 'THAWED');
  else writeControl(`${freezer.path}/cgroup.freeze`, '0');
}

/**
 * Lets the container's processes run on; nothing happens when it is not frozen. Raises SYSCALL_FAILED,
 * HOST_UNSUPPORTED.
 */
export function thaw(cgroup: Cgroup): void {
  writeThaw(requireFreezer(cgroup));
}
