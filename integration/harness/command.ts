/** Running programs: to their end with all they print, or in the background. */
import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { Readable } from 'node:stream';
import { waitFor, type WaitOptions } from './deadline';

export interface CommandOptions {
  /** Bytes for its standard input, which is /dev/null when absent. */
  readonly stdin?: string | Buffer | Readable;
  /** It is killed after this and the call throws. */
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

export interface CommandResult {
  /** The exit status; 128 + N for a program that signal N ended. */
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly ms: number;
}

/** A program in the background. Its output is collected; `stop` ends it. */
export class BackgroundCommand {
  private readonly chunks: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
  private readonly startedAt = performance.now();
  /** Resolves when the program has ended and its output is complete; rejects only if it could not be started. */
  readonly ended: Promise<CommandResult>;

  constructor(
    readonly argv: readonly string[],
    readonly child: ChildProcess,
  ) {
    child.stdout?.on('data', (chunk: Buffer) => this.chunks.stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => this.chunks.stderr.push(chunk));
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        resolve({
          code: code ?? 128 + constants.signals[signal ?? 'SIGKILL'],
          stdout: this.stdout,
          stderr: this.stderr,
          ms: performance.now() - this.startedAt,
        });
      });
    });
    // Nobody may be waiting yet: that is no unhandled rejection.
    this.ended.catch(() => undefined);
  }

  /** What it has printed so far. */
  get stdout(): Buffer {
    return Buffer.concat(this.chunks.stdout);
  }

  get stderr(): string {
    return Buffer.concat(this.chunks.stderr).toString();
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Waits until the text it printed on stdout matches. */
  async waitForOutput(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    return waitFor(
      `${String(pattern)} from ${this.argv.join(' ')}`,
      () => pattern.exec(this.stdout.toString()) ?? undefined,
      {
        detail: () => `it printed ${JSON.stringify(this.stdout.toString().slice(-2000))} ${this.stderr.slice(-2000)}`,
        ...options,
      },
    );
  }

  /** Sends the signal (SIGTERM unless told) if it still runs, and waits for its end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<CommandResult> {
    if (this.running) this.child.kill(signal);
    return this.ended;
  }
}

/** Starts a program with stdin as given and its output collected. */
export function startCommand(
  argv: readonly string[],
  options: CommandOptions & { keepStdinOpen?: boolean } = {},
): BackgroundCommand {
  const { stdin, env, cwd } = options;
  const [file = '', ...args] = argv;
  const wantsStdin = stdin !== undefined || options.keepStdinOpen === true;
  const child = spawn(file, args, {
    stdio: [wantsStdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    env: env ?? process.env,
    ...(cwd === undefined ? {} : { cwd }),
  });
  // A program may end without reading all of its input; that shows in its exit status, not as an EPIPE of ours.
  child.stdin?.on('error', () => undefined);
  if (stdin instanceof Readable) stdin.pipe(child.stdin!);
  else if (stdin !== undefined && options.keepStdinOpen === true) child.stdin?.write(stdin);
  else if (stdin !== undefined) child.stdin?.end(stdin);
  return new BackgroundCommand(argv, child);
}

/** Runs a program to its end. Throws when it cannot be started or takes longer than `timeoutMs` (60 s unless told). */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const command = startCommand(argv, options);
  const limit = { passed: false };
  const timer = setTimeout(() => {
    limit.passed = true;
    command.child.kill('SIGKILL');
    // A grandchild may hold the pipes open: what it would still print is not waited for.
    command.child.stdout?.destroy();
    command.child.stderr?.destroy();
  }, timeoutMs);
  try {
    const result = await command.ended;
    if (limit.passed) {
      throw new Error(`${argv.join(' ')}: not done after ${timeoutMs} ms; it printed ${describeOutput(result)}`);
    }
    return result;
  } finally {
    clearTimeout(timer);
  }
}

/** Like runCommand, but any exit status other than 0 throws with what the program printed. */
export async function mustRun(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const result = await runCommand(argv, options);
  if (result.code !== 0) throw new Error(`${argv.join(' ')}: exit status ${result.code}: ${describeOutput(result)}`);
  return result;
}

function describeOutput(result: CommandResult): string {
  const text = `${result.stderr.trim()} ${result.stdout.toString().trim()}`.trim();
  return text === '' ? 'nothing' : text.slice(-3000);
}
