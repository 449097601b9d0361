/** A conversation with a running `criu swrk`: one request, questions in between, one answer. */
import { closeSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import type { WatchHandle } from '../../native';
import { type CriuOptions, CriuRequest, CriuRequestType, CriuResponse } from '../../proto/criu';
import type { Draft } from '../../proto';
import { C, type Kernel, ProgramBuilder, receiveMessage } from '../../syscall';
import { commandOf, type Process } from '../process/process';
import { explainLog } from './criu-log';
import { keepFindings, LOG } from './criu-run';

const MAX_MESSAGE = 65536;
const READABLE = 1;
const EAGAIN = 11;
/** How long a CRIU that has hung up, or has no more work, may take to end. */
const PATIENCE_MS = 5000;
const NO_ROOM = /No space left on device|Disk quota exceeded/;

/** What CRIU asks in the middle of its work: `post-dump`, `setup-namespaces`, `post-restore`, … */
export type OnNotify = (script: string, pid: number) => Promise<void> | void;

/** One CRIU process. It must be ended with {@link end}, which also waits for it. */
export class CriuSession {
  readonly #queue: (CriuResponse | undefined)[] = [];
  #waiting: ((response: CriuResponse | undefined) => void) | undefined;
  #watch: WatchHandle | undefined;
  readonly #answered: string[] = [];
  #ended: Promise<void> | undefined;

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

  /** Its standard error and log, as far as it has come; nothing once it has been ended. */
  get log(): string {
    if (this.#ended) return '';
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

  /** Asks for CRIU's version; it waits for a request afterwards as before. */
  async version(): Promise<{ majorNumber: number; minorNumber: number; sublevel: number }> {
    this.#send({ type: CriuRequestType.VERSION, keepOpen: true });
    const response = await this.#next();
    if (response?.version === undefined) throw await this.#died();
    return response.version;
  }

  /** Whether memory can be left out of a restore here; CRIU finds that out of the kernel with all else that it wants to know of it. */
  async canLeaveMemoryOut(): Promise<boolean> {
    this.#send({ type: CriuRequestType.FEATURE_CHECK, keepOpen: true, features: { lazyPages: true } });
    const response = await this.#next();
    return response?.features?.lazyPages ?? false;
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
      // Its processes are held no more: whatever else failed may have followed from that.
      if (response === undefined) throw await this.#died();
      if (response.type !== CriuRequestType.NOTIFY) {
        if (response.success) return response;
        throw failure ?? this.#failed(type, response);
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

  /** Ends CRIU if it still runs, and frees everything. May be called again. */
  end(): Promise<void> {
    return (this.#ended ??= this.#end());
  }

  async #end(): Promise<void> {
    keepFindings(this.run);
    // Whoever still waits for a response hears that none comes.
    this.#hangUp();
    closeSync(this.socket);
    // Its end of work is the end of its socket; if it is stuck in the middle, the tasks that it holds go on when it dies.
    const timer = setTimeout(() => this.kill(), PATIENCE_MS);
    await this.criu.exited;
    clearTimeout(timer);
    closeSync(this.run);
  }

  /** Kills CRIU; for when it must not go on. */
  kill(): void {
    if (!this.criu.exit) this.kernel.signal(this.criu.fd, C.SIGKILL);
  }

  /** How CRIU has ended, when it did before its work was done. */
  async #died(): Promise<SiltError> {
    await Promise.race([this.criu.exited, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS).unref())]);
    const { exit } = this.criu;
    const how =
      exit === undefined ? '' : exit.signaled ? ` by signal ${exit.status - 128}` : ` with status ${exit.status}`;
    const { reasons } = explainLog(this.log);
    const text = `CRIU ended${how} in the middle of its work${reasons.length === 0 ? '' : `: ${reasons.slice(0, 3).join('; ')}`}`;
    return new SiltError('CHECKPOINT_FAILED', text);
  }

  #failed(type: number, response: CriuResponse): SiltError {
    const { process: at, reasons } = explainLog(this.log);
    const name = at && (at.name ?? (type === CriuRequestType.DUMP ? commandOf(at.pid) : undefined));
    const whom = at === undefined ? '' : ` process ${at.pid}${name === undefined ? '' : ` (${name})`}`;
    const cannot = type === CriuRequestType.DUMP ? 'CRIU cannot save' : 'CRIU cannot bring back';
    const why = reasons.length > 0 ? reasons.slice(0, 3).join('; ') : response.crErrmsg || `errno ${response.crErrno}`;
    const isFull = reasons.some((reason) => NO_ROOM.test(reason));
    return new SiltError(isFull ? 'NO_SPACE' : 'CHECKPOINT_FAILED', `${cannot}${whom || ' the processes'}: ${why}`);
  }

  #send(request: Draft<CriuRequest>): void {
    // The answer to a question may come after the end, and the socket's number be another file's by then.
    if (this.#ended) return;
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
