import { closeSync, constants, fstatSync, mkdirSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { type Kernel, tryLock } from '../../syscall';
import { commandLineOf, flockHolder, isAncestor, ownPid, readPid } from './lock-holder';
import { HOOK_WAIT, type StateDirectory } from './state';

/** Between two tries for a lock that is taken: at first as short as what most commands do under it. */
const RETRY_MS = { first: 1, last: 32 } as const;
/**
 * How long it is waited for: at most as a checkpoint of much memory may take, and without a word no longer than somebody looks at a
 * silent terminal. Who holds it is looked up once in a while.
 */
const PATIENCE = { lookMs: 1000, silentMs: 5000, mostMs: 600_000 };
/** Of a command line an error shows as much of the beginning. */
const SHOWN_COMMAND = 200;

/** What locks are taken with. */
export interface LockContext {
  readonly kernel: Kernel;
  readonly state: StateDirectory;
  /** Told of a wait that takes long. */
  readonly warn?: (message: string) => void;
  /** Another one than usual. */
  readonly patience?: typeof PATIENCE;
}

/**
 * Takes the lock of a pod, under which containers are made, started and removed: an exclusive flock(2) on its directory, which
 * goes with this process however it ends. Waits until it is free, in the event loop and never in flock(2): the holder may be this
 * very process, in the middle of a checkpoint that takes minutes.
 * @param make make the directory if it is not there
 * @returns what gives the lock back, or undefined when there is no such pod.
 * @throws SiltError POD_BUSY, naming who holds it: after ten minutes, and at once when this process is below a hook that the holder
 * waits for, see {@link waitingForHook}.
 */
export async function lockPod(context: LockContext, pod: string, make = false): Promise<(() => void) | undefined> {
  const path = context.state.podPath(pod);
  for (;;) {
    if (make) mkdirSync(path, { recursive: true, mode: 0o711 });
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && make) continue;
      if (code === 'ENOENT') return undefined;
      throw new SiltError('SYSCALL_FAILED', `cannot lock pod ${pod}: ${code}`, { path, errno: code }, { cause: error });
    }
    try {
      await lockInLoop(context, pod, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    // Whoever had the lock may have removed the directory, and another have made it anew.
    const locked = fstatSync(fd);
    const present = statSync(path, { throwIfNoEntry: false });
    if (present?.ino === locked.ino && present.dev === locked.dev) return () => closeSync(fd);
    closeSync(fd);
    if (!present && !make) return undefined;
  }
}

/**
 * Does what no other process may do to a pod at the same time, such as a checkpoint and what freezes or thaws its containers: CRIU lets a
 * process run for its own purposes while it saves it.
 * @param id of the container that it is done to, or of the pod, for the error; `what` is said to be gone, the pod if nothing else is given
 * @throws SiltError CONTAINER_NOT_FOUND when there is no such pod; POD_BUSY as {@link lockPod}; what `body` throws.
 */
export async function withPodLock<T>(
  context: LockContext,
  { pod, id, what = `pod ${pod}` }: { readonly pod: string; readonly id: string; readonly what?: string },
  body: () => Promise<T>,
): Promise<T> {
  const unlock = await lockPod(context, pod);
  if (!unlock) throw new SiltError('CONTAINER_NOT_FOUND', `${what} does not exist any more`, { id });
  try {
    return await body();
  } finally {
    unlock();
  }
}

/**
 * Waits for a hook under the pod's lock, and says so meanwhile: the hook's commands that want the lock are refused, as the wait would
 * never end. The lock alone does not say it: its holder may be a shim, with a container's processes below it that it does not wait for.
 */
export async function waitingForHook<T>(state: StateDirectory, pod: string, hook: () => Promise<T>): Promise<T> {
  const path = hookWaitPath(state, pod);
  try {
    writeFileSync(path, ownPid());
  } catch {
    // On a full disk: the hook matters more. Its commands wait then as long as anybody's.
  }
  try {
    return await hook();
  } finally {
    rmSync(path, { force: true });
  }
}

function hookWaitPath(state: StateDirectory, pod: string): string {
  return join(state.podPath(pod), HOOK_WAIT);
}

async function lockInLoop(
  { kernel, state, warn, patience = PATIENCE }: LockContext,
  pod: string,
  fd: number,
): Promise<void> {
  const began = performance.now();
  let [nextLook, told] = [began, false];
  for (let pause: number = RETRY_MS.first; !tryLock(kernel, fd); pause *= 2) {
    const now = performance.now();
    if (now >= nextLook) {
      const holder = flockHolder(fd);
      if (holder !== undefined && readPid(hookWaitPath(state, pod)) === holder && isAncestor(holder))
        throw heldForHook(pod, holder);
      const waitedMs = now - began;
      if (waitedMs >= patience.mostMs) throw heldTooLong(pod, holder, waitedMs);
      if (waitedMs >= patience.silentMs && !told) warn?.(`waiting for pod ${pod}, which ${describe(holder)} holds`);
      told = waitedMs >= patience.silentMs;
      nextLook = now + patience.lookMs;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause, RETRY_MS.last)));
  }
}

/** A hook's command: its wait would never end. */
function heldForHook(pod: string, holder: number): SiltError {
  const message = `pod ${pod} is held by ${describe(holder)}, which waits for this command to end: it is run by a hook of this pod's that silt waits for, and the pod cannot be changed or saved meanwhile`;
  return new SiltError('POD_BUSY', message, { id: pod });
}

function heldTooLong(pod: string, holder: number | undefined, waitedMs: number): SiltError {
  const message = `pod ${pod} has been held by ${describe(holder)} for ${Math.round(waitedMs / 1000)} s; try again when it has ended`;
  return new SiltError('POD_BUSY', message, { id: pod });
}

function describe(holder: number | undefined): string {
  if (holder === undefined) return 'a process that cannot be seen from here';
  const command = commandLineOf(holder).join(' ');
  const shown = command.length > SHOWN_COMMAND ? `${command.slice(0, SHOWN_COMMAND)}…` : command;
  return `process ${holder}${shown === '' ? '' : ` (${shown})`}`;
}
