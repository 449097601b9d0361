/** A conversation with a running `criu swrk`: one request, questions in between, one answer. */
import { closeSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SiltError } from '../../errors';
import type { WatchHandle } from '../../native';
import { type CriuOptions, CriuRequest, CriuRequestType, CriuResponse } from '../../proto/criu';
import type { Draft } from '../../proto';
import { C, type Kernel, ProgramBuilder, receiveMessage } from '../../syscall';
import type { Process } from '../process';
import { errorsOf } from './criu-log';
import { keepFindings, LOG } from './criu-run';

const MAX_MESSAGE = 65536;
const READABLE = 1;
const EAGAIN = 11;

/** What CRIU asks in the middle of its work: `post-dump`, `setup-namespaces`, `post-restore`, … */
export type OnNotify = (script: string, pid: number) => Promise<void> | void;

/** One CRIU process. It must be ended with {@link end}, which also waits for it. */
export class CriuSession {
  readonly #queue: (CriuResponse | undefined)[] = [];
  #waiting: ((response: CriuResponse | undefined) => void) | undefined;
  #watch: WatchHandle | undefined;
  readonly #answered: string[] = [];

  /** Keeps `socket`, and `run`, the fd of its /run. */
  constructor(
    private readonly kernel: Kernel,
    private readonly criu: Process,
    private readonly socket: number,
    private readonly run: number,
  ) {
    this.#watch = kernel.watch(socket, READABLE, () => this.#receive());
    // Other processes may have its end of the socket a little longer.
    void criu.exited.then(() => {
      while (this.#watch !== undefined && this.#receive());
      this.#hangUp();
    });
  }

  /** Its standard error and log, as far as it has come. */
  get log(): string {
    try {
      return readFileSync(join(this.runPath, LOG), 'utf8');
    } catch {
      return '';
    }
  }

  /** CRIU's, as the host numbers it. */
  get pid(): number {
    return this.criu.pid;
  }

  /** CRIU's /run, as this process reaches it. */
  get runPath(): string {
    return `/proc/self/fd/${this.run}`;
  }

  async version(): Promise<{ majorNumber: number; minorNumber: number; sublevel: number }> {
    this.#send({ type: CriuRequestType.VERSION });
    const response = await this.#next();
    if (response?.version === undefined) throw this.#died();
    return response.version;
  }

  /**
   * Has CRIU do something, answering what it asks meanwhile.
   * @throws what `onNotify` throws, after CRIU has taken everything back; CRIU's own failure as CHECKPOINT_FAILED.
   */
  async request(type: number, options: Draft<CriuOptions>, onNotify: OnNotify): Promise<CriuResponse> {
    this.#send({ type, opts: { logLevel: 4, logToStderr: true, notifyScripts: true, imagesDirFd: -1, ...options } });
    let failure: Error | undefined;
    for (;;) {
      const response = await this.#next();
      if (response === undefined) throw failure ?? this.#died();
      if (response.type !== CriuRequestType.NOTIFY) {
        if (response.success) return response;
        throw failure ?? this.#failed(response);
      }
      const { script = '', pid = 0 } = response.notify ?? {};
      try {
        this.#answered.push(script);
        await onNotify(script, pid);
      } catch (error) {
        failure ??= error instanceof Error ? error : new Error(String(error));
      }
      this.#send({ type: CriuRequestType.NOTIFY, notifySuccess: failure === undefined });
    }
  }

  /** Which steps it has come to: what it has done by the time of a failure. */
  get reached(): readonly string[] {
    return this.#answered;
  }

  /** Ends CRIU if it still runs, and frees everything. */
  async end(): Promise<void> {
    keepFindings(this.run);
    this.#watch?.close();
    this.#watch = undefined;
    closeSync(this.socket);
    // Its end of work is the end of its socket; if it is stuck in the middle, the tasks that it holds go on when it dies.
    const timer = setTimeout(() => {
      if (!this.criu.exit) this.kernel.signal(this.criu.fd, C.SIGKILL);
    }, 5000);
    await this.criu.exited;
    clearTimeout(timer);
    closeSync(this.run);
  }

  /** Kills CRIU; for when it must not go on. */
  kill(): void {
    if (!this.criu.exit) this.kernel.signal(this.criu.fd, C.SIGKILL);
  }

  /** Keeps the log in a file, and adds to the error where it is. */
  keepLog(path: string, error: unknown): unknown {
    if (!(error instanceof SiltError) || error.code !== 'CHECKPOINT_FAILED' || this.log === '') return error;
    try {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, this.log, { mode: 0o600 });
    } catch {
      return error;
    }
    const message = `${error.message}; CRIU's log is ${path}`;
    return new SiltError(error.code, message, { ...error.details, path }, { cause: error });
  }

  #died(): SiltError {
    return new SiltError('CHECKPOINT_FAILED', `CRIU ended in the middle of its work${this.#reason()}`);
  }

  #failed(response: CriuResponse): SiltError {
    const errno = response.crErrno > 0 ? ` (errno ${response.crErrno})` : '';
    return new SiltError('CHECKPOINT_FAILED', `CRIU has failed${errno}${this.#reason() || `: ${response.crErrmsg}`}`);
  }

  /** What CRIU says in its log: the first error is the cause, later ones follow from it. */
  #reason(): string {
    const reasons = errorsOf(this.log);
    return reasons.length === 0 ? '' : `: ${reasons.slice(0, 3).join('; ')}`;
  }

  #send(request: Draft<CriuRequest>): void {
    const bytes = CriuRequest.encode(request);
    const p = new ProgramBuilder();
    p.step('talking to CRIU').call('sendto', [this.socket, p.bytes(bytes), bytes.length, C.MSG_NOSIGNAL, 0, 0], {
      tolerate: ['EPIPE', 'ECONNRESET'],
    });
    this.kernel.run(p.build());
  }

  #next(): Promise<CriuResponse | undefined> {
    if (this.#queue.length > 0) return Promise.resolve(this.#queue.shift());
    if (this.#watch === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => (this.#waiting = resolve));
  }

  /** @returns false when there is nothing to be had now. */
  #receive(): boolean {
    const p = new ProgramBuilder();
    const message = receiveMessage(p, this.socket, MAX_MESSAGE, 1, 'response', { tolerate: ['ECONNRESET', 'EAGAIN'] });
    const result = this.kernel.run(p.build());
    const size = result.get(message.count);
    if (size === -EAGAIN) return false;
    if (size > 0) this.#deliver(CriuResponse.decode(result.at(message.payload, size)));
    else this.#hangUp();
    return size > 0;
  }

  #hangUp(): void {
    if (this.#watch === undefined) return;
    this.#watch.close();
    this.#watch = undefined;
    this.#deliver(undefined);
  }

  #deliver(response: CriuResponse | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting(response);
    else this.#queue.push(response);
  }
}
