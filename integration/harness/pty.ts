/**
 * A terminal for commands that want one, by script(1), which every Debian has (bsdutils). Window sizes are set on the
 * pseudo-terminal from outside, as a terminal window would: the kernel sends SIGWINCH to what runs on it.
 */
import { mustRun, startCommand, type BackgroundCommand, type CommandOptions } from './command';
import { waitFor } from './deadline';

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

export class Terminal {
  private constructor(
    private readonly command: BackgroundCommand,
    /** Path of the terminal's device, such as `/dev/pts/3`. */
    readonly device: string,
  ) {}

  /** Runs a command on a new terminal of this size. */
  static async open(
    argv: readonly string[],
    size: { rows: number; columns: number },
    options: CommandOptions = {},
  ): Promise<Terminal> {
    const setUp = `stty rows ${size.rows} cols ${size.columns}; echo "terminal $(tty)."`;
    const script = `${setUp}; exec ${argv.map(quote).join(' ')}`;
    const command = startCommand(['script', '--quiet', '--return', '--command', script, '/dev/null'], {
      ...options,
      keepStdinOpen: true,
    });
    const [, device = ''] = await command.waitForOutput(/terminal (\S+)\.\r?\n/, { timeoutMs: 10_000 });
    return new Terminal(command, device);
  }

  /** Types some text; `\r` is the return key, `\x04` Ctrl-D. */
  type(text: string): void {
    this.command.child.stdin?.write(text);
  }

  /** Everything on the screen so far. Lines end in `\n`: how many `\r` come before it depends on how ctr sets this terminal. */
  get screen(): string {
    const text = this.command.stdout.toString().replace(/\r+\n/g, '\n');
    return text.slice(text.indexOf('\n') + 1);
  }

  /** Waits until what is on the screen matches. */
  async waitForText(pattern: RegExp): Promise<RegExpExecArray> {
    return waitFor(`${String(pattern)} on the screen`, () => pattern.exec(this.screen) ?? undefined, {
      detail: () => JSON.stringify(this.screen.slice(-1000)),
    });
  }

  async resize(size: { rows: number; columns: number }): Promise<void> {
    await mustRun(['stty', '-F', this.device, 'rows', String(size.rows), 'cols', String(size.columns)]);
  }

  /**
   * Changes the size until what is on the screen matches: a client that has just started may have set the size already and not yet watch
   * for changes.
   */
  async resizeUntil(pattern: RegExp, size: { rows: number; columns: number }): Promise<void> {
    const shown = async (): Promise<boolean> => {
      if (pattern.test(this.screen)) return true;
      await this.resize({ ...size, rows: size.rows + 1 });
      await this.resize(size);
      return false;
    };
    await waitFor(`${String(pattern)} on the screen`, shown, {
      detail: () => JSON.stringify(this.screen.slice(-1000)),
    });
  }

  /** Exit status of the command, once it has ended. */
  async ended(): Promise<number> {
    return (await this.command.ended).code;
  }

  async close(): Promise<void> {
    await this.command.stop('SIGKILL');
  }
}
