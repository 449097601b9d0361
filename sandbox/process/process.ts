import { closeSync, readFileSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, type ExitStatus, type Kernel, ProgramBuilder } from '../../syscall';
import { ENDING_SIGNALS } from '../programs/parking';

const READABLE = 1;

/**
 * What ends a first process that waits for its start. It is process 1 of its pid namespace and handles no signal: the kernel drops all but
 * SIGKILL (pid_namespaces(7)), where runc's, a Go program, ends.
 */
export function signalToParked(signal: number): number {
  return (ENDING_SIGNALS as readonly number[]).includes(signal) ? C.SIGKILL : signal;
}

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

/** Reaps a process when it has ended, unless somebody has, and closes its pidfd, without keeping this process from ending before. */
export function reapLater(kernel: Kernel, pidfd: number): void {
  const watch = kernel.watch(pidfd, READABLE, () => {
    if (exitStatus(kernel, pidfd, 'with-caller') === undefined) return;
    watch.close();
    closeSync(pidfd);
  });
  watch.unref();
}

/** The host's pid of the process that a pidfd refers to; -1 once it has been reaped (/proc/PID/fdinfo, `Pid:`). */
export function pidOf(pidfd: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1');
  return Number(/^Pid:\s*(-?\d+)/m.exec(text)?.[1] ?? -1);
}

/** Name of a program, for messages. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '?';
  }
}

/** Who has started a process, or has it since that one ended; undefined when it is gone (proc(5), field 4). */
export function parentOf(pid: number): number | undefined {
  const parent = statOf(pid)?.[1];
  return parent === undefined ? undefined : Number(parent);
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

/**
 * Waits for the end of any process, another's child too, and says how it ended: the exit code, or 128 + the signal's number.
 * Undefined where the kernel does not tell any more. Closes the pidfd.
 */
export async function endOf(kernel: Kernel, pid: number, pidfd: number): Promise<number | undefined> {
  await new Promise<void>((resolve) => {
    const watch = kernel.watch(pidfd, READABLE, () => {
      watch.close();
      resolve();
    });
  });
  try {
    // Its parent may reap it at any moment: before, its status is in /proc, after that with the pidfd.
    const status = exitInfo(kernel, pidfd) ?? zombieStatus(pid) ?? exitInfo(kernel, pidfd);
    if (status === undefined) return undefined;
    const signal = status & 0x7f;
    return signal === 0 ? status >> 8 : 128 + signal;
  } finally {
    closeSync(pidfd);
  }
}

/** PIDFD_GET_INFO (Linux 6.13) with PIDFD_INFO_EXIT (6.15): the wait status of a process that has been reaped. */
function exitInfo(kernel: Kernel, pidfd: number): number | undefined {
  const PIDFD_GET_INFO = 0xc040ff0b;
  const PIDFD_INFO_EXIT = 8;
  const p = new ProgramBuilder();
  // struct pidfd_info: the mask at 0, exit_code at 60.
  const info = p.space(64);
  p.setU64(info, PIDFD_INFO_EXIT);
  const result = p.slot('result');
  p.call('ioctl', [pidfd, PIDFD_GET_INFO, info], { out: result, tolerate: 'all' });
  const ran = kernel.run(p.build());
  const bytes = ran.at(info);
  return ran.get(result) === 0 && (bytes.readUInt32LE(0) & PIDFD_INFO_EXIT) !== 0 ? bytes.readInt32LE(60) : undefined;
}

/** The last field of /proc/PID/stat: the wait status of a process that is not reaped yet (proc(5), `exit_code`). */
function zombieStatus(pid: number): number | undefined {
  const stat = statOf(pid);
  return stat?.[0] === 'Z' ? Number(stat[49]) : undefined;
}
