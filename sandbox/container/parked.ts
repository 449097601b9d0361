import { closeSync, writeSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { ReportChannel } from '../../syscall';
import type { StartedPager } from '../pager';

/** A first process that waits to be let go: a launcher before its exec, or one that CRIU has restored. */
export interface Parked {
  /** Brings the memory of what was restored without it. */
  readonly pager?: StartedPager | undefined;
  /** Lets it go, and settles when it runs. @throws SiltError when it could not. */
  start(): Promise<void>;
  /** It is killed, or about to be: frees what was kept for the start. May be called at any time. */
  abandon(): Promise<void>;
}

/** A launcher, which waits for a byte on a pipe and closes its report socket by its exec. */
export class ParkedLauncher implements Parked {
  #startFd: number | undefined;

  constructor(
    private readonly reports: ReportChannel,
    startFd: number,
  ) {
    this.#startFd = startFd;
  }

  async start(): Promise<void> {
    this.release();
    try {
      const report = await this.reports.next();
      if (report) throw new SiltError('INTERNAL', `unexpected report ${report.name}`);
    } finally {
      this.reports.close();
    }
  }

  /** Lets it go without waiting: it lives on when this process ends, to wait at its socket. */
  release(): void {
    writeSync(this.#startFd!, 'x');
    this.#drop();
  }

  abandon(): Promise<void> {
    this.#drop();
    this.reports.close();
    return Promise.resolve();
  }

  #drop(): void {
    if (this.#startFd !== undefined) closeSync(this.#startFd);
    this.#startFd = undefined;
  }
}
