import { closeSync, readFileSync } from 'node:fs';
import { SiltError } from '../errors';
import { C, type ExitStatus, type Kernel } from '../syscall';

const READABLE = 1;

/**
 * Whether what is started lives as long as the process that starts it, which reaps it (the shim), or on its own: then its
 * end is left for the next subreaper above to see (the command line, whose caller waits for the pid).
 */
export type Lifetime = 'with-caller' | 'of-its-own';

/** A process that lives in a pod: known by its pidfd, so a reused pid can never be mistaken for it. */
export class Process {
  /** Settles once, when the process has ended and, unless it lives on its own, has been reaped. */
  readonly exited: Promise<ExitStatus & { readonly at: Date }>;
  #exit: (ExitStatus & { readonly at: Date }) | undefined;

  /** Keeps `pidfd` and closes it after the exit. */
  constructor(
    private readonly kernel: Kernel,
    readonly pid: number,
    private readonly pidfd: number,
    lifetime: Lifetime = 'with-caller',
  ) {
    this.exited = new Promise((resolve) => {
      const watch = kernel.watch(pidfd, READABLE, () => {
        const status = exitStatus(kernel, pidfd, lifetime);
        if (status === undefined) return;
        watch.close();
        closeSync(pidfd);
        this.#exit = { ...status, at: new Date() };
        resolve(this.#exit);
      });
    });
  }

  /** How it ended; undefined while it runs. */
  get exit(): (ExitStatus & { readonly at: Date }) | undefined {
    return this.#exit;
  }

  /** The pidfd while the process has not been reaped. @throws SiltError PROCESS_NOT_FOUND. */
  get fd(): number {
    if (this.#exit) throw new SiltError('PROCESS_NOT_FOUND', `process ${this.pid} has ended: process already finished`);
    return this.pidfd;
  }

  /** @throws SiltError PROCESS_NOT_FOUND when the process has ended. */
  signal(signal: number): void {
    if (!this.kernel.signal(this.fd, signal)) {
      throw new SiltError('PROCESS_NOT_FOUND', `process ${this.pid} has ended: process already finished`);
    }
  }
}

/**
 * A process that was killed in the middle of its own creation may have been reaped with its process group; of one that is
 * no child of this process the status is not to be had.
 */
function exitStatus(kernel: Kernel, pidfd: number, lifetime: Lifetime): ExitStatus | undefined {
  try {
    return lifetime === 'with-caller' ? kernel.reap(pidfd) : kernel.peek(pidfd);
  } catch {
    return { status: 128 + C.SIGKILL, signaled: true };
  }
}

/** The host's pid of the process that a pidfd refers to; -1 once it has been reaped (/proc/PID/fdinfo, `Pid:`). */
export function pidOf(pidfd: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1');
  return Number(/^Pid:\s*(-?\d+)/m.exec(text)?.[1] ?? -1);
}

/** When a process started, in clock ticks since boot (proc(5), field 22): tells it from a later one with the same pid. */
export function startTimeOf(pid: number): string | undefined {
  return statOf(pid)?.[19];
}

/** Whether a process has ended and waits for its parent to reap it. */
export function isZombie(pid: number): boolean {
  const state = statOf(pid)?.[0];
  return state === 'Z' || state === 'X';
}

/** The fields of /proc/PID/stat from the third on: the second is the name, which may hold spaces and parentheses. */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}
