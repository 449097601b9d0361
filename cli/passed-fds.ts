import { type Command, InvalidArgumentError, Option } from 'commander';
import { readlinkSync } from 'node:fs';
import { SiltError } from '../errors';

/** Fds of the caller's that a process gets, as flags have them. */
export interface PassedFdFlags {
  /** This many from 3 on, under the same numbers. */
  readonly preserveFds: number;
  readonly passFd: readonly PassedFd[];
}

/** An fd here, and its number in the container. */
export interface PassedFd {
  readonly host: number;
  readonly guest: number;
}

const FIRST = 3;
const LAST = 299;

/** runc's way and runsc's. */
export function addPassedFdFlags(command: Command, whom: string): Command {
  return command
    .option('--preserve-fds <count>', `hand this many fds from 3 on to ${whom}`, readCount, 0)
    .addOption(
      new Option('--pass-fd <host:guest>', `hand this fd to ${whom}, there under another number; several times`)
        .argParser((text: string, before: readonly PassedFd[]) => [...before, readPassedFd(text)])
        .default([]),
    );
}

function readCount(text: string): number {
  if (!/^\d{1,3}$/.test(text) || Number(text) > 200) throw new InvalidArgumentError('It is a number from 0 to 200.');
  return Number(text);
}

function readPassedFd(text: string): PassedFd {
  const [, host = '', guest = ''] = /^(\d{1,7}):(\d{1,7})$/.exec(text) ?? [];
  if (guest === '') throw new InvalidArgumentError('It is HOST:GUEST, two numbers of fds.');
  if (Number(guest) < FIRST || Number(guest) > LAST)
    throw new InvalidArgumentError(`In the container it is a number from ${FIRST} to ${LAST}.`);
  return { host: Number(host), guest: Number(guest) };
}

/**
 * The fds to hand on, each once for a number in the container.
 * @throws SiltError REQUEST_INVALID for one that the caller has not given (what is open there is then this process's own), and for two that
 * would have the same number.
 */
export function passedFds({ preserveFds, passFd }: PassedFdFlags): PassedFd[] {
  const preserved = Array.from({ length: preserveFds }, (_, i) => ({ host: FIRST + i, guest: FIRST + i }));
  const all = [...preserved, ...passFd];
  for (const [i, { host, guest }] of all.entries()) {
    const flag = i < preserveFds ? `--preserve-fds=${preserveFds}` : `--pass-fd=${host}:${guest}`;
    if (!isInherited(host)) throw new SiltError('REQUEST_INVALID', `${flag}: fd ${host} is not open`);
    if (all.slice(0, i).some((other) => other.guest === guest))
      throw new SiltError('REQUEST_INVALID', `${flag}: fd ${guest} of the container is given twice`);
  }
  return all;
}

/** Node marks what it inherits close-on-exec, so its own are told by what they are: those of its event loop. */
function isInherited(fd: number): boolean {
  try {
    return !/^anon_inode:\[?(event|io_uring)/.test(readlinkSync(`/proc/self/fd/${fd}`));
  } catch {
    return false;
  }
}
