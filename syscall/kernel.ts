import { closeSync } from 'node:fs';
import type { NativeAddon, WatchHandle } from '../native';
import { SiltError } from '../errors';
import { type Addr, ProgramBuilder, type Slot } from './builder';
import { C } from './constants';
import { prctl } from './calls/processes';
import { kernelVersion } from './kernel-version';
import type { Program } from './program';
import { receiveReport, type Report, ReportChannel } from './report-channel';

/** What an in-process program left behind. */
export class RunResult {
  constructor(
    readonly slots: BigInt64Array,
    readonly image: Buffer,
  ) {}

  /** The slot's value: a result, or a negative errno where one was tolerated. */
  get(slot: Slot): number {
    return Number(this.slots[slot.index]);
  }

  /** The bytes at a place of the image, as the program left them. */
  at(addr: Addr, size = addr.size): Buffer {
    return this.image.subarray(addr.offset, addr.offset + size);
  }
}

/** How a child ended (waitid(2)). */
export interface ExitStatus {
  /** The exit code, or 128 + the signal's number for a process that a signal ended, as shells and runc have it. */
  readonly status: number;
  readonly signaled: boolean;
}

/** A started program. */
export interface Started {
  readonly pid: number;
  /** The caller's to close. */
  readonly pidfd: number;
  /** Messages of the program's processes; the caller's to close. */
  readonly reports: ReportChannel;
}

/**
 * The one way to the kernel for the rooms above: runs programs in this process, starts them in the interpreter, waits for
 * fds. Made once per process and passed down.
 */
export class Kernel {
  /** How many want to be given orphans. */
  #adopting = 0;

  constructor(
    private readonly native: NativeAddon,
    /** An fd of the interpreter's executable, see `openInterpreter` of native. */
    private readonly interpreter: number,
    /** Decides between the ways of newer and older kernels. */
    readonly version = kernelVersion(),
  ) {}

  /** Runs encoded programs as they are, for those that build thousands of them. */
  get runner(): Pick<
    NativeAddon,
    | ('run' | 'start' | 'finish')
    | ('plainHeaders' | 'packPlain' | 'readNames' | 'startWriting' | 'finishWriting')
    | 'unpackPlain'
  > {
    return this.native;
  }

  /**
   * Runs a short program in this process. It must not block, fork, or change namespaces or credentials.
   * @throws SiltError with the failed step.
   */
  run(program: Program): RunResult {
    const bytes = program.encode();
    const slots = new BigInt64Array(program.slots.length);
    const outcome = this.native.run(bytes, slots);
    if (outcome >= 0) throw program.failure(Math.floor(outcome / 4096), outcome % 4096);
    return new RunResult(slots, bytes.subarray(program.imageOffset));
  }

  /**
   * Starts a program in the interpreter, as a child of this process. `donations` has an fd for every name that the
   * program expects; they stay the caller's.
   */
  start(program: Program, donations: Readonly<Record<string, number>>): Started {
    const { socket, ...child } = this.#spawn(program, donations);
    return { ...child, reports: new ReportChannel(this, program, socket) };
  }

  /**
   * Waits for the end of a program that reports nothing more, and of all processes in its group, and frees what is kept of it.
   * @throws SiltError with the failed step.
   */
  async ended({ pid, pidfd, reports }: Started): Promise<void> {
    try {
      // No report is expected: the end of the socket is the end of the program.
      await reports.next();
    } finally {
      reports.close();
      this.reapGroup(pid, true);
      closeSync(pidfd);
    }
  }

  /**
   * Runs a short program in a process of its own, its group's first (setpgid(2)), and waits for all of its end: for what may not be
   * done in this process. Returns what it reported; the fds are the caller's.
   * @throws SiltError with the failed step; nothing is left open then.
   */
  runApart(program: Program, donations: Readonly<Record<string, number>> = {}): Report[] {
    const { pid, pidfd, socket } = this.#spawn(program, donations);
    const reports: Report[] = [];
    try {
      for (;;) {
        const message = receiveReport(this, program, socket);
        if (message === 'end') return reports;
        if (message instanceof SiltError) throw message;
        if (message !== 'reset') reports.push(message);
      }
    } catch (error) {
      for (const { fds } of reports) fds.forEach((fd) => closeSync(fd));
      throw error;
    } finally {
      closeSync(socket);
      this.reapGroup(pid, true);
      closeSync(pidfd);
    }
  }

  #spawn(
    program: Program,
    donations: Readonly<Record<string, number>>,
  ): { pid: number; pidfd: number; socket: number } {
    const fds = program.donations.map((name) => {
      const fd = donations[name];
      if (fd === undefined) throw new RangeError(`the program wants an fd called ${name}`);
      return fd;
    });
    const [mine, theirs] = this.socketPair();
    const lent = [theirs];
    try {
      const memfd = this.native.memfd('silt-program', program.encode(), true);
      lent.push(memfd);
      const { pid, pidfd } = this.native.spawn(this.interpreter, memfd, theirs, Int32Array.from(fds));
      return { pid, pidfd, socket: mine };
    } catch (error) {
      closeSync(mine);
      throw error;
    } finally {
      for (const fd of lent) closeSync(fd);
    }
  }

  /** Two connected SOCK_SEQPACKET sockets, both the caller's to close. */
  socketPair(): [number, number] {
    const p = new ProgramBuilder();
    const pair = p.space(8);
    p.call('socketpair', [C.AF_UNIX, C.SOCK_SEQPACKET | C.SOCK_CLOEXEC, 0, pair]);
    const at = this.run(p.build()).at(pair);
    return [at.readInt32LE(0), at.readInt32LE(4)];
  }

  /** A pipe: [read end, write end], both the caller's to close. */
  pipe(): [number, number] {
    const p = new ProgramBuilder();
    const pair = p.space(8);
    p.call('pipe2', [pair, C.O_CLOEXEC]);
    const at = this.run(p.build()).at(pair);
    return [at.readInt32LE(0), at.readInt32LE(4)];
  }

  /** Calls back while `fd` is ready, see NativeAddon.watch. */
  watch(fd: number, events: number, callback: (events: number, error: number) => void): WatchHandle {
    return this.native.watch(fd, events, callback);
  }

  /** A memfd with these bytes, the caller's to close. */
  memfd(name: string, bytes: Uint8Array): number {
    return this.native.memfd(name, bytes, true);
  }

  /** An empty memfd to write into, the caller's to close. */
  scratch(name: string): number {
    return this.native.memfd(name, new Uint8Array(), false);
  }

  /** Reaps a child that has ended, by its pidfd; undefined while it runs. @throws SiltError ECHILD when it is not ours. */
  reap(pidfd: number): ExitStatus | undefined {
    return this.#wait(C.P_PIDFD, pidfd, C.WNOHANG);
  }

  /** Like {@link reap}, but leaves the child to be reaped: by whoever inherits it, say. */
  peek(pidfd: number): ExitStatus | undefined {
    return this.#wait(C.P_PIDFD, pidfd, C.WNOHANG | C.WNOWAIT);
  }

  /** Reaps one child that has ended and was only looked at so far, if it is still there. */
  reapChild(pid: number): void {
    try {
      this.#wait(C.P_PID, pid, C.WNOHANG);
    } catch {
      // ECHILD: somebody else has.
    }
  }

  /**
   * Reaps all children in a process group that have ended. With `wait` it blocks until none is left: only for groups
   * whose processes are known to be on their last instruction.
   */
  reapGroup(group: number, wait: boolean): void {
    try {
      while (this.#wait(C.P_PGID, group, wait ? 0 : C.WNOHANG) !== undefined);
    } catch {
      // ECHILD: nothing is left, which is what this is for.
    }
  }

  /**
   * Kills a process group and waits until no child of this process is left in it. A group without one is left alone: its number may be
   * another's by now.
   */
  endGroup(group: number): void {
    try {
      this.#wait(C.P_PGID, group, C.WNOHANG | C.WNOWAIT);
    } catch {
      // ECHILD
      return;
    }
    const release = this.adoptOrphans();
    this.signalGroup(group, C.SIGKILL);
    this.reapGroup(group, true);
    release();
  }

  /**
   * For the time in which a program's processes are killed: those whose parent goes first become this process's (PR_SET_CHILD_SUBREAPER,
   * prctl(2)), which reaps them with their group. They would be process 1's, and one that reaps late or never, as in many containers, would
   * keep the first process of a pid namespace from ending, which waits for all in it (pid_namespaces(7)), and so this one.
   * @returns what ends that time
   */
  adoptOrphans(): () => void {
    if (this.#adopting++ === 0) this.#beSubreaper(1);
    return () => {
      if (--this.#adopting === 0) this.#beSubreaper(0);
    };
  }

  #beSubreaper(on: 0 | 1): void {
    const p = new ProgramBuilder();
    prctl(p.step('taking orphans'), 'PR_SET_CHILD_SUBREAPER', on);
    this.run(p.build());
  }

  #wait(type: number, id: number, how: number): ExitStatus | undefined {
    const p = new ProgramBuilder();
    const info = p.space(128);
    p.step('waiting for a child').call('waitid', [type, id, info, C.WEXITED | how, 0], { retry: true });
    const siginfo = this.run(p.build()).at(info);
    // si_signo is SIGCHLD when a child was found and stays 0 otherwise; si_code lies at 8, si_status at 24.
    if (siginfo.readInt32LE(0) === 0) return undefined;
    const CLD_EXITED = 1;
    const signaled = siginfo.readInt32LE(8) !== CLD_EXITED;
    const value = siginfo.readInt32LE(24);
    return { status: signaled ? 128 + value : value, signaled };
  }

  /** pidfd_send_signal(2). @returns false when the process has ended. */
  signal(pidfd: number, signal: number): boolean {
    const p = new ProgramBuilder();
    const result = p.slot('result');
    p.step(`sending signal ${signal}`).call('pidfd_send_signal', [pidfd, signal, 0, 0], {
      out: result,
      tolerate: ['ESRCH'],
    });
    return this.run(p.build()).get(result) === 0;
  }

  /** kill(2) of every process in a group. */
  signalGroup(group: number, signal: number): void {
    const p = new ProgramBuilder();
    p.call('kill', [-group, signal], { tolerate: ['ESRCH'] });
    this.run(p.build());
  }

  /** pidfd_open(2). @throws SiltError PROCESS_NOT_FOUND. */
  pidfdOpen(pid: number): number {
    const p = new ProgramBuilder();
    const fd = p.slot('pidfd');
    p.step(`opening a pidfd of process ${pid}`).call('pidfd_open', [pid, 0], { out: fd });
    const program = p.build();
    const slots = new BigInt64Array(program.slots.length);
    const outcome = this.native.run(program.encode(), slots);
    if (outcome >= 0) throw program.failure(0, outcome % 4096, { ESRCH: 'PROCESS_NOT_FOUND' });
    return Number(slots[0]);
  }
}
