import { closeSync, readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SiltError } from '../../errors';
import { C, type Kernel } from '../../syscall';
import { type Cgroup, listPids } from '../cgroup';
import { startTimeOf } from '../process/process';

/** Time in which what hooks have left running must be gone. */
const PATIENCE_MS = 5000;
/** A process may fork behind the place where a look at the lists has arrived, and end before it: so they are looked at again. */
const LOOKS = 2;

/** Where what hooks leave running is looked for. */
export interface HookedPlace {
  readonly id: string;
  readonly cgroup: Cgroup;
  /** An fd of the mount namespace where the root is built, which is looked through, too, for what has left the cgroup. Borrowed. */
  readonly mount: number;
}

/**
 * Runs the hooks of a container that is being built, and ends what they leave running in its cgroup and mount namespace: pivot_root(2) moves the
 * root of every process there, so that what such a process executes next is the image's, with the rights of the hook and without the container's
 * filter. What is there before is silt's own.
 * @throws SiltError HOOK_FAILED when something does not end; what the hooks throw.
 */
export async function withoutLeftovers(kernel: Kernel, place: HookedPlace, hooks: () => Promise<void>): Promise<void> {
  const namespace = readlinkSync(`/proc/self/fd/${place.mount}`);
  const present = (): Map<number, string> => {
    const pids = [...listPids(place.cgroup), ...pidsIn(namespace)];
    return new Map(pids.map((pid) => [pid, startTimeOf(pid) ?? '']));
  };
  const own = present();
  await hooks();
  const deadline = performance.now() + PATIENCE_MS;
  for (let looks = 0; looks < LOOKS;) {
    const left = [...present()].filter(([pid, start]) => own.get(pid) !== start);
    looks = left.length === 0 ? looks + 1 : 0;
    if (looks > 0) continue;
    if (performance.now() > deadline) throw stillThere(place.id, left);
    for (const [pid, start] of left) end(kernel, pid, start);
    await sleep(1);
  }
}

/** The processes whose mount namespace this is. None for that of silt itself, which is the host's: nothing is pivoted there. */
function pidsIn(namespace: string): number[] {
  if (namespace === readlinkSync('/proc/self/ns/mnt')) return [];
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => mountNamespaceOf(pid) === namespace).map(Number);
}

/** Undefined when the process has ended. */
function mountNamespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

function end(kernel: Kernel, pid: number, start: string): void {
  let fd: number;
  try {
    fd = kernel.pidfdOpen(pid);
  } catch (error) {
    if (error instanceof SiltError && error.code === 'PROCESS_NOT_FOUND') return;
    throw error;
  }
  try {
    // The pid may have changed hands before it was opened; from here on it cannot.
    if (startTimeOf(pid) === start) kernel.signal(fd, C.SIGKILL);
  } finally {
    closeSync(fd);
  }
}

function stillThere(id: string, left: readonly (readonly [number, string])[]): SiltError {
  const pids = left.map(([pid]) => pid);
  const message = `the hooks that run before the container left processes running that do not end ${PATIENCE_MS} ms after SIGKILL: ${pids.slice(0, 8).join(', ')}; have the hooks end what they start`;
  return new SiltError('HOOK_FAILED', message, { id });
}
