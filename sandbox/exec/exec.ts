import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, type Report } from '../../syscall';
import { traceCpuid } from '../cpuid';
import { execFailure } from './exec-failure';
import { openRootOf } from './container-root';
import type { ExecPlan } from './exec-plan';
import { type Lifetime, Process, pidOf } from '../process/process';
import { type CgroupJoiner, enterProgram } from '../programs/enter';
import { handOverListener, type ListenerSubject } from './seccomp-listener';
import { awaitReports } from '../process/started';
import type { Workshop } from '../workshop';

/** A further process of a container: added, then started, then ended. */
export class Exec {
  #process: Process | undefined;
  #starting = false;

  constructor(
    private readonly workshop: Pick<Workshop, 'kernel' | 'host'>,
    readonly id: string,
    readonly plan: ExecPlan,
    /** The container's first process. */
    private readonly init: Pick<Process, 'fd'>,
    private readonly container: ListenerSubject,
    private readonly lifetime: Lifetime = 'with-caller',
  ) {}

  /** The process; undefined until it has been started. */
  get process(): Process | undefined {
    return this.#process;
  }

  /**
   * Starts the process and waits until its exec has succeeded.
   * @param stdio fds by the names in STDIO, borrowed; none with a terminal
   * @param onTerminal is given the pty's master, which it then owns
   * @throws SiltError WRONG_STATE when it has been started, EXEC_NOT_FOUND when the program cannot be executed.
   */
  async start(stdio: Readonly<Record<string, number>>, onTerminal: (master: number) => void): Promise<Process> {
    if (this.#starting) throw new SiltError('WRONG_STATE', `exec ${this.id} has been started already`, { id: this.id });
    this.#starting = true;
    try {
      return await this.#enter('helper', stdio, onTerminal);
    } catch (error) {
      // `pids.max` leaves no room for the helper, or none at all: the process moves in by itself then, as with runc.
      if (!(error instanceof SiltError) || error.details.errno !== 'EAGAIN' || error.details.syscall !== 'clone3')
        throw error;
      return await this.#enter('process', stdio, onTerminal);
    }
  }

  async #enter(
    joiner: CgroupJoiner,
    stdio: Readonly<Record<string, number>>,
    onTerminal: (master: number) => void,
  ): Promise<Process> {
    const { kernel, host } = this.workshop;
    const root = this.plan.chroot ? openRootOf(this.init.fd) : undefined;
    const donations = { ...stdio, container: this.init.fd, ...(root !== undefined && { root }) };
    const started = kernel.start(enterProgram(this.plan, joiner), donations);
    if (root !== undefined) closeSync(root);
    let process: Process | undefined;
    const onReport = ({ name, fds }: Report): boolean => {
      if (name === 'process') process = new Process(kernel, pidOf(fds[0]!), fds[0]!, this.lifetime);
      else if (name === 'terminal') onTerminal(fds[0]!);
      else if (name === 'listener') {
        const initPid = pidOf(this.init.fd);
        handOverListener(kernel, this.container, { pid: process!.pid, initPid, status: 'running' }, fds[0]!);
        closeSync(fds[0]!);
      } else return false;
      return true;
    };
    const abort = (): void => {
      if (process && !process.exit) kernel.signal(process.fd, C.SIGKILL);
    };
    try {
      await awaitReports(kernel, started, ['process', 'ready'], {
        what: `starting exec ${this.id}`,
        onReport,
        onQuestion: () =>
          traceCpuid(kernel, host, {
            view: this.plan.cpu!,
            tids: [process!.pid],
            armNow: false,
            lifetime: this.lifetime,
          }),
        abort,
      });
      // Nothing more is sent: the socket closes when exec does.
      await started.reports.next();
      this.#process = process!;
      return process!;
    } catch (error) {
      await process?.exited;
      throw execFailure(error, this.plan.process);
    } finally {
      started.reports.close();
    }
  }
}
