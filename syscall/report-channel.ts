import { closeSync } from 'node:fs';
import type { WatchHandle } from '../native';
import { SiltError } from '../errors';
import { ProgramBuilder } from './builder';
import { receivedFds, receiveMessage } from './calls';
import { C } from './constants';
import type { Kernel } from './kernel';
import type { Failures } from './program';

/** One message of a program: a word, what follows it after a space, and fds, which are the receiver's to close. */
export interface Report {
  readonly name: string;
  readonly text: string;
  readonly fds: readonly number[];
}

const MAX_MESSAGE = 8192;
const MAX_FDS = 2;
const FAILURE_MAGIC = 0x4c494146;
const READABLE = 1;

/**
 * Takes one message off a report socket; waits for it when there is none.
 * @returns `reset` once when the other side ended without having read all that it was sent, `end` when it has closed the socket
 */
export function receiveReport(kernel: Kernel, program: Failures, fd: number): Report | SiltError | 'reset' | 'end' {
  const p = new ProgramBuilder();
  const message = receiveMessage(p, fd, MAX_MESSAGE, MAX_FDS, 'report', { tolerate: ['ECONNRESET'] });
  const result = kernel.run(p.build());
  const size = result.get(message.count);
  if (size < 0) return 'reset';
  if (size === 0) return 'end';
  const payload = Buffer.from(result.at(message.payload, size));
  if (size === 16 && payload.readUInt32LE(0) === FAILURE_MAGIC)
    return program.failure(payload.readUInt32LE(4), payload.readUInt32LE(8));
  const fds = receivedFds(result.image, message);
  const [name = '', ...text] = payload.toString().split(' ');
  return { name, text: text.join(' '), fds };
}

/** The receiving end of a program's report socket. Messages wait here until {@link next} asks for them. */
export class ReportChannel {
  readonly #queue: (Report | SiltError | undefined)[] = [];
  readonly #waiting: { resolve: (report: Report | undefined) => void; reject: (error: Error) => void }[] = [];
  readonly #watch: WatchHandle;
  #open = true;

  /** Keeps `fd`. */
  constructor(
    private readonly kernel: Kernel,
    private readonly program: Failures,
    private readonly fd: number,
  ) {
    this.#watch = kernel.watch(fd, READABLE, () => this.#receive());
  }

  /**
   * The next message; undefined once every process of the program has closed its end.
   * @throws SiltError when a process of the program failed: the step and the errno.
   */
  next(): Promise<Report | undefined> {
    const first = this.#queue.shift();
    if (first instanceof SiltError) return Promise.reject(first);
    if (first !== undefined) return Promise.resolve(first);
    if (!this.#open) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Answers a message that asks for something. */
  send(text: string): void {
    const p = new ProgramBuilder();
    p.step('answering a program').call(
      'sendto',
      [this.fd, p.bytes(Buffer.from(text)), Buffer.byteLength(text), C.MSG_NOSIGNAL, 0, 0],
      { tolerate: ['EPIPE'] },
    );
    this.kernel.run(p.build());
  }

  /** Closes the socket and every fd that nobody took. */
  close(): void {
    if (this.#open) this.#end();
    for (const report of this.#queue.splice(0))
      if (report && !(report instanceof SiltError)) report.fds.forEach((fd) => closeSync(fd));
  }

  #end(): void {
    this.#open = false;
    this.#watch.close();
    closeSync(this.fd);
    for (const { resolve } of this.#waiting.splice(0)) resolve(undefined);
  }

  #receive(): void {
    const message = receiveReport(this.kernel, this.program, this.fd);
    // The error has stopped the watch, and what the other side said itself is still to come.
    if (message === 'reset') this.#watch.change(READABLE);
    else if (message === 'end') this.#end();
    else this.#deliver(message);
  }

  #deliver(item: Report | SiltError): void {
    const waiter = this.#waiting.shift();
    if (!waiter) this.#queue.push(item);
    else if (item instanceof SiltError) waiter.reject(item);
    else waiter.resolve(item);
  }
}
