import type { Command } from 'commander';
import type { GlobalOptions } from './global-flags';
import { Log } from './log';

/** What every command has: the flags before its name, and the log that they ask for. */
export class Frame {
  #command = '';
  #log: Log | undefined;

  constructor(private readonly silt: Command) {}

  get options(): GlobalOptions {
    return this.silt.opts<GlobalOptions>();
  }

  /** Whether a flag is on the command line, by its name as commander has it. */
  isGiven(option: keyof GlobalOptions): boolean {
    return this.silt.getOptionValueSource(option) === 'cli';
  }

  /** Opened when first asked for. @throws SiltError REQUEST_INVALID when the file cannot be opened. */
  get log(): Log {
    this.#log ??= new Log(this.options, this.#command);
    return this.#log;
  }

  /** @param command its name, for the name of its debug log */
  begin(command: string): void {
    this.#command = command;
  }
}
