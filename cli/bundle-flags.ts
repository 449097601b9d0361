import type { Command } from 'commander';
import { addPassedFdFlags, type PassedFdFlags } from './passed-fds';

/** The flags that `create` and `run` have in common, as runc has them. */
export interface BundleOptions extends PassedFdFlags {
  readonly bundle: string;
  readonly consoleSocket?: string;
  readonly pidFile?: string;
  readonly pidfdSocket?: string;
  readonly newKeyring: boolean;
}

export function addBundleFlags(command: Command): Command {
  return addPassedFdFlags(
    command
      .option('-b, --bundle <directory>', 'the bundle: where config.json is', '.')
      .option('--console-socket <path>', 'a unix socket that the master of the container’s terminal is sent to')
      .option('--pid-file <path>', 'a file that the pid of the first process is written to')
      .option('--pidfd-socket <path>', 'a unix socket that the pidfd of the first process is sent to')
      // Commander: an option --no-x is the option x, true unless given.
      .option('--no-pivot', 'accepted; silt always pivots')
      .option('--no-new-keyring', 'stay in the session keyring of the caller')
      .option('--user-log <path>', 'accepted, for runsc'),
    'the first process',
  );
}
