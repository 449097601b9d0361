import { type Command, InvalidArgumentError } from 'commander';

/** The flags that `create` and `run` have in common, as runc has them. */
export interface BundleOptions {
  readonly bundle: string;
  readonly consoleSocket?: string;
  readonly pidFile?: string;
  readonly newKeyring: boolean;
  readonly preserveFds: number;
}

export function addBundleFlags(command: Command): Command {
  return (
    command
      .option('-b, --bundle <directory>', 'the bundle: where config.json is', '.')
      .option('--console-socket <path>', 'a unix socket that the master of the container’s terminal is sent to')
      .option('--pid-file <path>', 'a file that the pid of the first process is written to')
      // Commander: an option --no-x is the option x, true unless given.
      .option('--no-pivot', 'accepted; silt always pivots')
      .option('--no-new-keyring', 'stay in the session keyring of the caller')
      .option('--preserve-fds <count>', 'hand this many fds from 3 on to the first process', readCount, 0)
      .option('--user-log <path>', 'accepted, for runsc')
  );
}

export function readCount(text: string): number {
  if (!/^\d{1,3}$/.test(text) || Number(text) > 200) throw new InvalidArgumentError('It is a number from 0 to 200.');
  return Number(text);
}
