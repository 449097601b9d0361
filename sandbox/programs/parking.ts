import {
  type Addr,
  C,
  close,
  dupTo,
  flags,
  type Label,
  type Named,
  prctl,
  type ProgramBuilder,
  read,
  REPORT_FD,
  Slot,
} from '../../syscall';
import { report } from './reports';

/** The read end of the pipe that lets a parked launcher go. */
export const START = 'start';
/** The listening socket of a launcher that is started through its state directory. */
export const START_SOCKET = 'start_socket';

/** The step in which a process is parked. */
export const START_STEP = 'waiting for the start';

/**
 * What lets a parked process go: a byte in the start pipe; or, where the start comes from another process than the
 * creation, a connection to a socket, once the byte has said that the creation is complete.
 */
export type StartGate = 'pipe' | 'socket';

/** Signals by which engines ask a program to end, which they do by default (signal(7)). */
export const ENDING_SIGNALS = [C.SIGHUP, C.SIGINT, C.SIGQUIT, C.SIGTERM] as const;

/** Size of the kernel's sigset_t. */
const SIGSET = 8;

/** What a process does between the last check and its exec. */
export interface Parking {
  /**
   * Adds the waiting, for each executable that may be found.
   * @param filtered the spec's seccomp filter is in force by then
   */
  wait(filtered: boolean): void;
  /** Adds what is jumped to, once, behind all else. */
  finish?(): void;
}

/**
 * Reports that the process is ready and waits until the start pipe has a byte; its end means that it will never come.
 * Behind a socket the process is on its own from then on: what fails is reported to whoever connected.
 *
 * A signal that ends programs ends it too, with 128 and the signal's number as its exit status. It is process 1 of its pid namespace, to
 * which the kernel delivers none that it has no handler for (pid_namespaces(7)); but those that are blocked it keeps, and a signalfd tells
 * of them. With a filter in force, which may know nothing of these calls, only SIGKILL ends it.
 */
export function parkUntilStart(p: ProgramBuilder, gate: StartGate): Parking {
  const signals = p.slot('signals');
  const ended = p.label();
  const go = (filtered: boolean): void => {
    p.step(START_STEP);
    if (!filtered) keepSignals(p, signals);
    // Before it is let go: whoever does that is gone a moment later. Until then the end of the pipe is that of the creation.
    if (gate === 'socket') prctl(p, 'PR_SET_PDEATHSIG', 0);
    report(p, 'ready');
    // The creation, which is what a socket's pipe waits for, is over in a moment.
    if (!filtered && gate === 'pipe') awaitEither(p, p.donated(START), signals, ended);
    const start = read(p, p.donated(START), 1);
    const begun = p.label();
    p.jumpIfNotZero(start.count, begun);
    p.call('exit_group', [0]);
    p.place(begun);
    if (gate === 'socket') {
      if (!filtered) awaitEither(p, p.donated(START_SOCKET), signals, ended);
      const connection = p.slot('starter');
      p.call('accept4', [p.donated(START_SOCKET), 0, 0, flags('SOCK_CLOEXEC')], { out: connection, retry: true });
      dupTo(p, connection, REPORT_FD, true);
      close(p, connection);
    }
    // What is executed inherits the mask.
    if (!filtered) p.call('rt_sigprocmask', [flags('SIG_SETMASK'), signalSet(p, []), 0, SIGSET]);
  };
  return { wait: (filtered) => p.scope(() => go(filtered)), finish: () => endBySignal(p, signals, ended) };
}

/** From here on the signals that end the process are kept for a signalfd. */
function keepSignals(p: ProgramBuilder, signals: Slot): void {
  const ending = signalSet(p, ENDING_SIGNALS);
  p.call('rt_sigprocmask', [flags('SIG_BLOCK'), ending, 0, SIGSET]);
  p.call('signalfd4', [-1, ending, SIGSET, flags('SFD_CLOEXEC')], { out: signals });
}

/** Waits until the fd is readable, or goes to `ended` when a signal comes first. */
function awaitEither(p: ProgramBuilder, fd: Named, signals: Slot, ended: Label): void {
  p.call('ppoll', [pollFds(p, [fd, signals]), 2, 0, 0, SIGSET], { retry: true });
  p.jumpIfNotZero(isReadable(p, signals), ended);
}

function endBySignal(p: ProgramBuilder, signals: Slot, ended: Label): void {
  if (ended.from.length === 0) return;
  p.place(ended);
  p.step('ending by a signal before the start');
  for (const signal of ENDING_SIGNALS) {
    const next = p.label();
    p.call('signalfd4', [signals, signalSet(p, [signal]), SIGSET, 0]);
    p.jumpIfZero(isReadable(p, signals), next);
    p.call('exit_group', [128 + signal]);
    p.place(next);
  }
}

function isReadable(p: ProgramBuilder, fd: Slot): Slot {
  const readable = p.slot('readable');
  p.call('ppoll', [pollFds(p, [fd]), 1, p.space(16, '{0}'), 0, SIGSET], { out: readable, retry: true });
  return readable;
}

/** An array of struct pollfd, for POLLIN. */
function pollFds(p: ProgramBuilder, fds: readonly (Slot | Named)[]): Addr {
  const array = p.space(
    8 * fds.length,
    `{${fds.map((fd) => `${fd instanceof Slot ? `$${fd.name}` : fd.text}, POLLIN`).join(', ')}}`,
  );
  for (const [i, fd] of fds.entries()) {
    const one = array.plus(8 * i, 8);
    if (fd instanceof Slot) p.slotAt(one, fd, 32);
    else p.setU32(one, Number(fd.value));
    p.setU32(one.plus(4, 4), C.POLLIN);
  }
  return array;
}

function signalSet(p: ProgramBuilder, signals: readonly number[]): Addr {
  const set = p.space(SIGSET, `{${signals.join(', ')}}`);
  p.setU64(
    set,
    signals.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n),
  );
  return set;
}
