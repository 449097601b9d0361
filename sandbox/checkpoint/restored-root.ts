/** The root filesystem of a restored container, built in the middle of CRIU's work. */
import { closeSync, writeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { COVER, UPPER, USERNS } from '../../gofer';
import type { Kernel, Started } from '../../syscall';
import type { Pod } from '../pod/pod';
import { Process, pidOf } from '../process/process';
import { CRIU_FDS, restoreRootProgram, uncoverProgram } from '../programs/criu';
import { LAUNCH_FDS } from '../programs/launch';
import { REPORTS } from '../programs/reports';
import { awaitReports } from '../process/started';
import type { RestoreRequest } from './restore-request';
import type { Prepared } from './restored-mounts';

/** Builds the root, in the middle of CRIU's work. It is started while CRIU is still being loaded, and waits. */
export class RootBuilder {
  #pipe: number | undefined;
  #building: Promise<void> | undefined;
  /** Whether there are processes of its own. */
  #runs = true;
  readonly #givenUp = new AbortController();

  private constructor(
    private readonly kernel: Kernel,
    private readonly request: RestoreRequest,
    private readonly started: Started,
    pipe: number,
  ) {
    this.#pipe = pipe;
  }

  /** @param handover the socket to the holder; borrowed. To be ended by {@link build} or {@link abandon}. */
  static start(
    kernel: Kernel,
    pod: Pod,
    request: RestoreRequest,
    { root, fds }: Prepared,
    handover: number,
  ): RootBuilder {
    const [pid, pipe] = kernel.pipe();
    const donations: Record<string, number> = {
      ...request.mountFds,
      ...fds,
      [LAUNCH_FDS.sandbox]: pod.sandbox.fd,
      [UPPER]: request.upper,
      [CRIU_FDS.handover]: handover,
      [CRIU_FDS.pid]: pid,
    };
    if (pod.userns !== undefined) donations[USERNS] = pod.userns;
    if (request.cover !== undefined) donations[COVER] = request.cover;
    try {
      const started = kernel.start(restoreRootProgram({ ...request.plan, root }), donations);
      return new RootBuilder(kernel, request, started, pipe);
    } catch (error) {
      closeSync(pipe);
      throw error;
    } finally {
      closeSync(pid);
    }
  }

  /**
   * The first process is there and waits for its root.
   * @param pid as the pod's pid namespace has it
   * @param criu CRIU and the holder, which reports that it has the root
   * @throws SiltError; nothing of the builder is left then.
   */
  build(pid: number, criu: Started, onInit: (init: Process) => void): Promise<void> {
    return (this.#building = this.#build(pid, criu, onInit));
  }

  async #build(pid: number, criu: Started, onInit: (init: Process) => void): Promise<void> {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(pid);
    let init: Process | undefined;
    let mountNamespace: number | undefined;
    let standIn: number | undefined;
    this.#tell(word);
    await awaitReports(this.kernel, this.started, ['process', 'built'], {
      what: 'building the root filesystem',
      onReport: ({ name, fds: received }) => {
        if (name === 'mounted') mountNamespace = received[0]!;
        if (name === REPORTS.standIn) standIn = received[0]!;
        if (name !== 'process') return name === 'mounted' || name === REPORTS.standIn;
        init = new Process(this.kernel, pidOf(received[0]!), received[0]!, this.request.lifetime);
        onInit(init);
        return true;
      },
      onQuestion: () =>
        this.request.onQuestion({ init: init!, standIn: pidOf(standIn!) }, mountNamespace!, this.#givenUp.signal),
    }).finally(() => {
      this.#runs = false;
      for (const fd of [mountNamespace, standIn]) if (fd !== undefined) closeSync(fd);
    });
    this.started.reports.close();
    const held = await criu.reports.next();
    if (held?.name !== 'held') throw new SiltError('INTERNAL', 'the holder of the mount namespace is gone');
  }

  /** It is not needed any more. If it is in the middle of {@link build}, that ends with an error, and nothing of it runs when this settles. */
  async abandon(): Promise<void> {
    if (this.#pipe === undefined) {
      this.#givenUp.abort();
      if (this.#runs) this.kernel.endGroup(this.started.pid);
      await this.#building?.catch(() => undefined);
      return;
    }
    this.#tell(Buffer.alloc(0));
    // What it failed of meanwhile is nobody's concern.
    await this.kernel.ended(this.started).catch(() => undefined);
  }

  #tell(word: Buffer): void {
    const pipe = this.#pipe!;
    this.#pipe = undefined;
    try {
      // One that is gone has reported why.
      if (word.length > 0) writeSync(pipe, word);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    } finally {
      closeSync(pipe);
    }
  }
}

/** Takes away what covered /proc while CRIU worked, see restoreRootProgram. */
export async function uncoverRestoredRoot(kernel: Kernel, init: Process): Promise<void> {
  await kernel.ended(kernel.start(uncoverProgram(), { [CRIU_FDS.init]: init.fd }));
}
