import { closeSync, constants, existsSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { SiltError } from '../../errors';
import { checkMaster, type PendingOutput, Pump, resizeTerminal } from '../../sandbox';
import type { Kernel } from '../../syscall';
import { startLogger, type Logger } from './binary-logger';
import { InputFifo, OutputFifo } from './fifo';

/** The stdio of a process as containerd's requests give it. */
export interface StdioRequest {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
  /** For logging binaries, which learn it from their environment. */
  readonly id: string;
  readonly namespace: string;
}

/** How long unread output outlives its process at most, once the process has been deleted. */
const UNREAD_OUTPUT_MS = 10_000;

/**
 * The stdio of one process: what its program is given, and what silt holds meanwhile. `dispose` ends it.
 *
 * Fifos go to the process directly; a terminal is copied between its master and the fifos.
 */
export class Stdio {
  readonly #outputs: OutputFifo[] = [];
  readonly #own: number[] = [];
  readonly #pumps: Pump[] = [];
  #input: InputFifo | undefined;
  #logger: Logger | undefined;
  #master: number | undefined;
  #stdout: number | undefined;
  #inputReader: number | undefined;
  #size: [columns: number, rows: number] | undefined;
  /** The process has ended, and a slow reader has not taken all of its output yet. */
  #finishing = false;

  private constructor(
    private readonly kernel: Kernel,
    readonly request: StdioRequest,
  ) {}

  /**
   * Opens everything that the request names.
   * @throws SiltError REQUEST_INVALID naming the path; nothing stays open then.
   */
  static async open(kernel: Kernel, request: StdioRequest): Promise<Stdio> {
    const stdio = new Stdio(kernel, request);
    try {
      if (request.stdin !== '')
        stdio.#input = attempt('stdin', request.stdin, () => new InputFifo(kernel, pathOf(request.stdin)));
      const scheme = schemeOf(request.stdout);
      if (scheme === 'binary') stdio.#logger = await startLogger(kernel, request);
      return stdio;
    } catch (error) {
      stdio.dispose();
      throw error;
    }
  }

  /** The fds to donate, named as a program's stdio is, until {@link closeDonated}. None for a terminal. */
  donate(): Record<string, number> {
    if (this.request.terminal) return {};
    const stdin = this.#input ? this.#input.takeReader() : openSync('/dev/null', constants.O_RDONLY);
    this.#own.push(stdin);
    const stdout = this.#openOutput('stdout', this.request.stdout);
    const stderr = this.#openOutput('stderr', this.request.stderr);
    return { stdin, stdout, stderr };
  }

  #openOutput(name: 'stdout' | 'stderr', uri: string): number {
    if (this.#logger) return name === 'stdout' ? this.#logger.stdout : this.#logger.stderr;
    const fd = attempt(name, uri, () => {
      if (uri === '') return openSync('/dev/null', constants.O_WRONLY);
      const path = pathOf(uri);
      const isFifo = schemeOf(uri) !== 'file' && existsSync(path) && statSync(path).isFIFO();
      if (schemeOf(uri) === 'file') mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
      if (!isFifo) return openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o640);
      const fifo = new OutputFifo(this.kernel, path);
      this.#outputs.push(fifo);
      return fifo.openWriter();
    });
    this.#own.push(fd);
    return fd;
  }

  /** Closes this side's copies of the donated fds, once the process has its own. */
  closeDonated(): void {
    for (const fd of this.#own.splice(0)) closeSync(fd);
    this.#logger?.closeDonated();
  }

  /**
   * Takes the pty's master that a program sent, and starts copying, after what is given. @throws SiltError when it is not a pty's
   * master.
   */
  attachTerminal(master: number, before?: Buffer): void {
    checkMaster(master);
    this.#master = master;
    this.#stdout = this.#openTerminalOutput();
    this.#pumps.push(new Pump(this.kernel, master, this.#stdout, () => undefined, before));
    if (this.#input) {
      const input = this.#input.takeReader(true);
      const pump = new Pump(this.kernel, input, master, () => undefined);
      this.#pumps.push(pump);
      this.#inputReader = input;
    }
    if (this.#size) this.resize(...this.#size);
  }

  /** What the process has written to its terminal and nobody has read, for a checkpoint of it. Undefined without a terminal. */
  get terminalOutput(): PendingOutput | undefined {
    return this.request.terminal ? this.#pumps[0] : undefined;
  }

  /** An fd that stays with silt: the logger's own is closed with those that are donated. */
  #openTerminalOutput(): number {
    if (this.#logger) return openSync(`/proc/self/fd/${this.#logger.stdout}`, constants.O_WRONLY);
    const output = this.#openOutput('stdout', this.request.stdout);
    this.#own.pop();
    return output;
  }

  /**
   * Sets the terminal's size, now or as soon as there is one: clients say it before the process is started.
   * @throws SiltError WRONG_STATE for a process without a terminal.
   */
  resize(columns: number, rows: number): void {
    if (!this.request.terminal) throw new SiltError('WRONG_STATE', 'cannot resize: the process has no terminal');
    this.#size = [columns, rows];
    if (this.#master === undefined) return;
    resizeTerminal(this.kernel, this.#master, { columns, rows });
  }

  /** The process is being started, see InputFifo.settle. */
  settle(): void {
    this.#input?.settle();
  }

  /** The process reads the end of its stdin. */
  closeStdin(): void {
    this.#input?.closeWriter();
  }

  /** The process has ended: passes on what it left in the terminal, and lets readers see the end. */
  finish(): void {
    const [output, ...inputs] = this.#pumps;
    for (const pump of inputs) pump.stop();
    this.#input?.dispose();
    const end = (): void => {
      this.#finishing = false;
      this.#closeTerminal();
      for (const fifo of this.#outputs) fifo.release(24 * 3600 * 1000);
      this.#logger?.closeHeld();
    };
    this.#finishing = true;
    if (output) output.finish(end);
    else end();
  }

  /** Ends everything. Output that nobody has read yet stays readable for ten seconds. */
  dispose(): void {
    this.closeDonated();
    if (this.#finishing) setTimeout(() => this.#closeTerminal(), UNREAD_OUTPUT_MS).unref();
    else this.#closeTerminal();
    this.#input?.dispose();
    for (const output of this.#outputs.splice(0)) output.release(UNREAD_OUTPUT_MS);
    this.#logger?.closeHeld();
  }

  #closeTerminal(): void {
    for (const pump of this.#pumps.splice(0)) pump.stop();
    for (const fd of [this.#master, this.#stdout, this.#inputReader]) if (fd !== undefined) closeSync(fd);
    this.#master = this.#stdout = this.#inputReader = undefined;
  }
}

const SCHEMES = ['fifo', 'file', 'binary'];

/** @throws SiltError REQUEST_INVALID for one that silt does not have: its path is not to be written to. */
function schemeOf(uri: string): string {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(uri)?.[1] ?? 'fifo';
  if (SCHEMES.includes(scheme)) return scheme;
  throw new SiltError('REQUEST_INVALID', `unknown STDIO scheme ${scheme} in ${uri}; there are ${SCHEMES.join(', ')}`, {
    path: uri,
  });
}

/** The path of a stdio URI; containerd gives fifos as plain paths, which are taken as they are, or `fifo://`. */
function pathOf(uri: string): string {
  return uri.includes('://') ? decodeURIComponent(new URL(uri).pathname) : uri;
}

function attempt<T>(name: string, uri: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof SiltError) throw error;
    throw new SiltError(
      'REQUEST_INVALID',
      `cannot open ${uri} as ${name}: ${(error as Error).message}`,
      { path: uri },
      { cause: error },
    );
  }
}
