import { timestampOf } from '../proto';
import type { ExitStatus } from '../syscall';
import type { Container, Exec, FreezeRecord, OomWatch, Process } from '../sandbox';
import type { Publisher } from './publisher';
import type { Stdio } from './stdio';

export type Ended = ExitStatus & { readonly at: Date };

/** What containerd sees of one process, the first or a further one: its stdio, its end, and the order of its events. */
export abstract class TaskProcess {
  #startPublished: (() => void) | undefined;
  #startSettled: Promise<void> = Promise.resolve();
  #settleEnded: ((exit: Ended) => void) | undefined;
  /** Pending as long as the process runs, and before it has been started: clients wait first and start then. */
  readonly #ended = new Promise<Ended>((resolve) => {
    this.#settleEnded = resolve;
  });

  constructor(
    readonly stdio: Stdio,
    protected readonly publisher: Publisher,
  ) {}

  abstract readonly containerId: string;
  /** The exec id; the container's own id for the first process, as events have it. */
  abstract readonly id: string;
  abstract get process(): Process | undefined;

  get exit(): Ended | undefined {
    return this.process?.exit;
  }

  /** Settles when the exit has been published. */
  wait(): Promise<Ended> {
    return this.#ended;
  }

  /** From now on an exit waits to be published until {@link startDone}: a process may end before its start is known. */
  protected startBegins(): void {
    this.stdio.settle();
    this.#startSettled = new Promise((resolve) => {
      this.#startPublished = resolve;
    });
  }

  /** The start has been published, or has failed. */
  protected startDone(): void {
    this.#startPublished?.();
  }

  /** Publishes the process's exit after its start, and after everything in `first`. */
  protected async follow(process: Process, first: () => Promise<unknown>): Promise<void> {
    const exit = await process.exited;
    this.stdio.finish();
    await this.#startSettled;
    await first();
    const { containerId, id } = this;
    this.publisher.publish('/tasks/exit', {
      containerId,
      id,
      pid: process.pid,
      exitStatus: exit.status,
      exitedAt: timestampOf(exit.at),
    });
    this.#settleEnded?.(exit);
  }
}

/** A container's first process. */
export class InitTask extends TaskProcess {
  readonly execs = new Map<string, ExecTask>();

  constructor(
    readonly container: Container,
    stdio: Stdio,
    publisher: Publisher,
  ) {
    super(stdio, publisher);
    // Exits of execs come first: their processes are gone when the first process is, but their events might not be.
    void this.follow(container.init, () =>
      Promise.all([...this.execs.values()].filter((exec) => exec.process).map((exec) => exec.wait())),
    );
  }

  get containerId(): string {
    return this.container.id;
  }

  get id(): string {
    return this.container.id;
  }

  get process(): Process {
    return this.container.init;
  }

  async start(): Promise<void> {
    this.startBegins();
    try {
      await this.container.start();
      this.publisher.publish('/tasks/start', { containerId: this.id, pid: this.process.pid });
    } finally {
      this.startDone();
    }
  }
}

/** A container, and what the shim keeps beside it. */
export interface Task {
  readonly init: InitTask;
  readonly freezer: FreezeRecord;
  readonly oom: OomWatch;
}

/** A further process. */
export class ExecTask extends TaskProcess {
  constructor(
    readonly init: InitTask,
    readonly exec: Exec,
    stdio: Stdio,
    publisher: Publisher,
  ) {
    super(stdio, publisher);
  }

  get containerId(): string {
    return this.init.id;
  }

  get id(): string {
    return this.exec.id;
  }

  get process(): Process | undefined {
    return this.exec.process;
  }

  async start(): Promise<Process> {
    this.startBegins();
    try {
      const process = await this.exec.start(this.stdio.donate(), (master) => this.stdio.attachTerminal(master));
      void this.follow(process, () => Promise.resolve());
      this.publisher.publish('/tasks/exec-started', {
        containerId: this.containerId,
        execId: this.id,
        pid: process.pid,
      });
      return process;
    } catch (error) {
      // Clients wait for the end of the streams before they pass the error on.
      this.stdio.finish();
      throw error;
    } finally {
      this.stdio.closeDonated();
      this.startDone();
    }
  }
}
