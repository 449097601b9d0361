import { closeSync, constants, createWriteStream, fstatSync, openSync } from 'node:fs';
import { SiltError } from '../errors';
import { checkMaster, keepNewlines, Pump, resizeTerminal, sendMaster, type TerminalSize } from '../sandbox';
import { C, type Kernel, ProgramBuilder } from '../syscall';
import { isTerminal } from './is-terminal';

const STDIN = 0;
const STDOUT = 1;
/** ^D, termios(3) VEOF. */
const END_OF_TRANSMISSION = '\x04';

export interface StreamsRequest {
  /** The process has a terminal. */
  readonly terminal: boolean;
  /** This command ends when the process has been started. */
  readonly detach: boolean;
  /** Where an engine waits for the terminal's master. */
  readonly consoleSocket: string | undefined;
  /** What a restored program had written before it was saved, and nobody had read. */
  readonly before?: Buffer | undefined;
  /** The terminal's first size, where this command has no terminal itself. */
  readonly size?: TerminalSize | undefined;
}

/**
 * Where the stdio of a process comes from: this command's own, handed on as it is; or a terminal, whose master goes to an
 * engine's console socket, or stays here and is copied to this command's own terminal until the process ends.
 */
export class Streams {
  #master: number | undefined;
  #output: Pump | undefined;
  #stdout: number | undefined;

  /** @throws SiltError REQUEST_INVALID for a terminal that nobody would have, with runc's words. */
  constructor(
    private readonly kernel: Kernel,
    private readonly request: StreamsRequest,
  ) {
    const { terminal, detach, consoleSocket } = request;
    if (terminal && detach && consoleSocket === undefined) {
      const message = 'cannot allocate tty if silt will detach without setting console socket: give --console-socket';
      throw new SiltError('REQUEST_INVALID', message);
    }
    if (consoleSocket !== undefined && !(terminal && detach)) {
      const message = 'cannot use console socket if silt will not detach or allocate tty';
      throw new SiltError('REQUEST_INVALID', message);
    }
  }

  /** The fds to donate, by the names of a program's stdio. */
  get stdio(): Record<string, number> {
    return this.request.terminal ? {} : { stdin: 0, stdout: 1, stderr: 2 };
  }

  /** Takes the pty's master. @throws SiltError when it is none, or the console socket cannot be reached. */
  readonly onTerminal = (master: number): void => {
    checkMaster(master);
    const size = ownSize(this.kernel) ?? this.request.size;
    if (size) resizeTerminal(this.kernel, master, size);
    if (this.request.consoleSocket !== undefined) {
      try {
        sendMaster(this.kernel, this.request.consoleSocket, master);
      } finally {
        closeSync(master);
      }
      return;
    }
    keepNewlines(this.kernel, master);
    this.#master = master;
  };

  /** Copies between the terminals from now on, if there is one to copy. */
  connect(): void {
    const master = this.#master;
    if (master === undefined) return;
    this.#stdout = ownDescription(STDOUT, constants.O_WRONLY);
    this.#output = new Pump(this.kernel, master, this.#stdout, () => undefined, this.request.before);
    // Through a pipe: Node reads stdin whatever it is, a file too, which cannot be watched.
    const [read, write] = this.kernel.pipe();
    const input = createWriteStream('', { fd: write });
    process.stdin.pipe(input, { end: false });
    // What a terminal has for the end of a file, or a shell that is given its commands through a pipe would wait for ever.
    process.stdin.once('end', () => input.end(END_OF_TRANSMISSION));
    new Pump(this.kernel, read, master, () => undefined);
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.on('SIGWINCH', () => {
      const size = ownSize(this.kernel);
      if (size && this.#master !== undefined) resizeTerminal(this.kernel, this.#master, size);
    });
  }

  /** The process has ended: settles when all that it wrote to its terminal has been copied. */
  async finish(): Promise<void> {
    await new Promise<void>((resolve) => (this.#output ? this.#output.finish(resolve) : resolve()));
    if (this.#output && process.stdin.isTTY) process.stdin.setRawMode(false);
    for (const fd of [this.#master, this.#stdout]) if (fd !== undefined && fd !== STDOUT) closeSync(fd);
    this.#master = this.#stdout = this.#output = undefined;
  }
}

/**
 * An fd that can be made non-blocking without anybody noticing who shares ours: a terminal or pipe opened anew. A file's
 * offset is shared on purpose.
 */
function ownDescription(fd: number, how: number): number {
  const stat = fstatSync(fd);
  if (!stat.isFIFO() && !isTerminal(fd)) return fd;
  return openSync(`/proc/self/fd/${fd}`, how | constants.O_NOCTTY);
}

/** The size of this command's own terminal, if it has one. */
export function ownSize(kernel: Kernel): TerminalSize | undefined {
  const fd = [STDIN, STDOUT].find((one) => isTerminal(one));
  if (fd === undefined) return undefined;
  const p = new ProgramBuilder();
  const size = p.space(8);
  p.step('asking for the terminal’s size').call('ioctl', [fd, C.TIOCGWINSZ, size]);
  const answer = kernel.run(p.build()).at(size);
  const [rows, columns] = [answer.readUInt16LE(0), answer.readUInt16LE(2)];
  return rows > 0 && columns > 0 ? { rows, columns } : undefined;
}
