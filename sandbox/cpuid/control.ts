/** The tracer of a container's first process can be asked to let go of its threads, for CRIU to trace them. */
import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { WatchHandle } from '../../native';
import { C, type Kernel, ProgramBuilder, receiveMessage } from '../../syscall';
import type { Host } from '../host';
import type { Lifetime, Process } from '../process/process';
import { connectIn, listenIn } from '../state/state-socket';
import { traceCpuid, type TracerRequest } from './tracer';
import type { CpuView } from './view';

/** Its name in the directory of the container's state. */
const NAME = 'cpuid';
const READABLE = 1;
/** How long a thread may take to stand still. */
const PATIENCE_MS = 5000;

/** Traces a container's first process before it executes its program. See {@link traceCpuid}. */
export async function traceFirst(
  { kernel, host }: { readonly kernel: Kernel; readonly host: Host },
  view: CpuView,
  init: Pick<Process, 'pid'>,
  directory: string,
  lifetime: Lifetime,
): Promise<void> {
  await traceContainer(kernel, host, directory, { view, tids: [init.pid], armNow: false, lifetime });
}

/** Traces threads of a container by a tracer that can be asked to let go of them, see {@link TracerControl}. */
export async function traceContainer(
  kernel: Kernel,
  host: Pick<Host, 'lastCapability'>,
  directory: string,
  request: Omit<TracerRequest, 'control'>,
): Promise<void> {
  const control = listenIn(kernel, directory, NAME);
  try {
    await traceCpuid(kernel, host, { ...request, control });
  } finally {
    closeSync(control);
  }
}

/** A connection to a container's tracer; its end makes it trace the threads again. */
export class TracerControl {
  #watch: WatchHandle | undefined;
  #answered: ((answer: string) => void) | undefined;

  private constructor(
    private readonly kernel: Kernel,
    private readonly fd: number,
  ) {
    this.#watch = kernel.watch(fd, READABLE, () => this.#receive());
  }

  /** @throws SiltError WRONG_STATE when the tracer is gone. */
  static connect(kernel: Kernel, directory: string): TracerControl {
    return new TracerControl(kernel, connectIn(kernel, directory, NAME, 'the tracer of its CPUID is gone'));
  }

  /**
   * Makes all threads stand still. What `told` does comes after they have been told to: it may thaw frozen ones, which then do
   * before they run on.
   * @throws SiltError CHECKPOINT_FAILED when one does not; they go on at {@link close}.
   */
  async hold(told: () => void = () => undefined): Promise<void> {
    await this.#ask('i', 'silt-cpuid does not answer');
    told();
    await this.#ask('h', 'its threads do not stand still: one may be waiting for a child that it made with vfork(2)');
  }

  /** Lets go of the threads, which are held and must be kept from running. */
  letGo(): Promise<void> {
    return this.#ask('d', 'silt-cpuid does not let go of its threads');
  }

  /** Traces the threads again, those that are still there, and lets them go on. */
  resume(): Promise<void> {
    return this.#ask('s', 'silt-cpuid does not answer');
  }

  close(): void {
    if (this.#watch === undefined) return;
    this.#watch.close();
    this.#watch = undefined;
    closeSync(this.fd);
  }

  async #ask(word: string, otherwise: string): Promise<void> {
    const p = new ProgramBuilder();
    p.step('asking silt-cpuid').call('sendto', [this.fd, p.bytes(Buffer.from(word)), 1, C.MSG_NOSIGNAL, 0, 0]);
    const answer = new Promise<string>((resolve) => (this.#answered = resolve));
    this.kernel.run(p.build());
    const timer = setTimeout(() => this.#answered?.(''), PATIENCE_MS);
    try {
      if ((await answer) !== word) throw new SiltError('CHECKPOINT_FAILED', otherwise);
    } finally {
      clearTimeout(timer);
    }
  }

  #receive(): void {
    const p = new ProgramBuilder();
    const { count, payload } = receiveMessage(p, this.fd, 16, 0, 'answer', { tolerate: ['ECONNRESET', 'EAGAIN'] });
    const result = this.kernel.run(p.build());
    const size = result.get(count);
    if (size <= 0) this.close();
    this.#answered?.(size > 0 ? result.at(payload, size).toString('latin1') : '');
  }
}
