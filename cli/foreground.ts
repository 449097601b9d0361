import { signalNumber } from '../syscall';

/** Signals that are passed on to the process in the foreground: all that Node can catch and that are not about this command itself. */
const PASSED_ON = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  'SIGVTALRM',
  'SIGPWR',
] as const;

/** Passes signals on from now on. @param send is given the signal's number; it must not throw */
export function passSignalsOn(send: (signal: number) => void): void {
  for (const name of PASSED_ON) process.on(name, () => send(signalNumber(name)!));
}
