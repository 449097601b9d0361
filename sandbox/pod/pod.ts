import { closeSync, existsSync, openSync, readlinkSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SiltError } from '../../errors';
import { type FilesystemStep, hostOwner, type IdMaps } from '../../gofer';
import { C, type Kernel, type Program } from '../../syscall';
import { Process, pidOf } from '../process/process';
import { HOLDER_FDS, holderProgram } from '../programs/holder';
import { dropUpperProgram, KEEPER, makeSharedMemoryProgram, openSharedMemoryProgram } from '../programs/kept-mounts';
import { SANDBOX_FDS, sandboxProgram, type SandboxPlan } from '../programs/sandbox';
import { retryWithin } from '../cgroup/waiting';
import { awaitReports } from '../process/started';
import { openRecorded, type PodState } from '../state/state';

export interface PodNamespaceFds {
  /** Fds of namespaces that the pod joins instead of having its own; borrowed. */
  readonly network?: number;
  readonly ipc?: number;
  readonly uts?: number;
  readonly user?: number;
}

/** Which kinds of namespace the sandbox holds; the pod shares the others with the host. */
export interface PodNamespaces {
  readonly network: boolean;
  readonly ipc: boolean;
  readonly uts: boolean;
  /** The network was made by somebody else (CNI), and does not belong to the pod's user namespace. */
  readonly foreignNetwork?: boolean;
}

export function podNamespaces({ network, ipc, uts, foreignNetwork }: SandboxPlan): PodNamespaces {
  const held = { network: network !== 'host', ipc: ipc !== 'host', uts: uts !== 'host' };
  return foreignNetwork ? { ...held, foreignNetwork } : held;
}

/** The same of a sandbox that runs, by its pid: an older silt did not record it. */
export function namespacesHeld(sandbox: number): PodNamespaces {
  const isOwn = (name: string): boolean =>
    readlinkSync(`/proc/${sandbox}/ns/${name}`) !== readlinkSync(`/proc/self/ns/${name}`);
  return { network: isOwn('net'), ipc: isOwn('ipc'), uts: isOwn('uts') };
}

/** How long one that this process reaps may take to end, unless something in the pod is not reaped. */
const REAPED_MS = 1000;
/** How long the end of a sandbox may take, where it is not reaped here. */
const LET_GO_MS = 5000;

/** What is known of a pod apart from its sandbox. */
export interface PodTraits {
  readonly id: string;
  readonly idMaps: IdMaps | null;
  readonly namespaces: PodNamespaces;
}

/** A running pod: its sandbox process, and what holds it. */
export class Pod implements PodTraits {
  readonly id: string;
  readonly idMaps: IdMaps | null;
  readonly namespaces: PodNamespaces;
  #attached = false;
  #closed = false;
  #control: number | undefined;
  #userns: number | undefined;
  /** The control pipe of the holder, if there is one. */
  #holder: number | undefined;
  /** Settles when the pod's shared memory has been made. */
  #sharedMemory: Promise<unknown> | undefined;

  private constructor(
    private readonly kernel: Kernel,
    traits: PodTraits,
    readonly sandbox: Process,
    control: number | undefined,
  ) {
    this.id = traits.id;
    this.idMaps = traits.idMaps;
    this.namespaces = traits.namespaces;
    this.#control = control;
    this.#userns = traits.idMaps ? openSync(`/proc/${sandbox.pid}/ns/user`, 'r') : undefined;
  }

  /** The pod's user namespace, for idmapped mounts; undefined without one. */
  get userns(): number | undefined {
    return this.#userns;
  }

  /**
   * A pod that another process has started, by its state. To be closed by {@link detach}, or by {@link close}, which ends it.
   * @throws SiltError WRONG_STATE when it has ended.
   */
  static attach(kernel: Kernel, state: PodState): Pod {
    const { id, idMaps, sandbox } = state;
    const fd = openRecorded(kernel, sandbox);
    if (fd === undefined || state.namespaces === undefined) {
      if (fd !== undefined) closeSync(fd);
      throw new SiltError('WRONG_STATE', `pod ${id} has ended: its sandbox is gone; delete its containers`, { id });
    }
    const traits = { id, idMaps, namespaces: state.namespaces };
    const pod = new Pod(kernel, traits, new Process(kernel, sandbox.pid, fd, 'of-its-own'), undefined);
    pod.#attached = true;
    return pod;
  }

  /**
   * Starts a pod's sandbox. The returned pod must be closed; when this process dies, the kernel closes the control pipe
   * and the sandbox goes, and with it everything in the pod.
   * @throws SiltError of the step that failed; nothing is left then.
   */
  static async start(kernel: Kernel, plan: SandboxPlan, namespaces: PodNamespaceFds = {}): Promise<Pod> {
    const program = sandboxProgram(plan);
    const [controlRead, controlWrite] = kernel.pipe();
    let sandbox: Process | undefined;
    try {
      const donations: Record<string, number> = { [SANDBOX_FDS.control]: controlRead };
      if (namespaces.network !== undefined) donations[SANDBOX_FDS.network] = namespaces.network;
      if (namespaces.ipc !== undefined) donations[SANDBOX_FDS.ipc] = namespaces.ipc;
      if (namespaces.uts !== undefined) donations[SANDBOX_FDS.uts] = namespaces.uts;
      if (plan.user === 'joined') donations[SANDBOX_FDS.user] = namespaces.user!;
      const started = kernel.start(program, donations);
      await awaitReports(kernel, started, ['sandbox', 'ready'], {
        what: `starting the sandbox of ${plan.id}`,
        onReport: ({ name, fds }) => {
          if (name !== 'sandbox') return false;
          sandbox = new Process(kernel, pidOf(fds[0]!), fds[0]!);
          return true;
        },
      });
      started.reports.close();
      const traits = { id: plan.id, idMaps: plan.idMaps, namespaces: podNamespaces(plan) };
      return new Pod(kernel, traits, sandbox!, controlWrite);
    } catch (error) {
      closeSync(controlWrite);
      await sandbox?.exited;
      throw error;
    } finally {
      closeSync(controlRead);
    }
  }

  /** It has ended, or is about to: nothing can join it any more. */
  isEnding(): boolean {
    // The namespaces of a killed process go before the process does, which waits for the others of its pid namespace.
    return this.#closed || this.sandbox.exit !== undefined || !existsSync(`/proc/${this.sandbox.pid}/ns/mnt`);
  }

  /**
   * Starts process 1 of a pid namespace for all containers of the pod. It ends with the pod, and the pod should end with it.
   * @throws SiltError of the step that failed.
   */
  async startHolder(): Promise<Process> {
    const program = holderProgram({ userns: this.idMaps !== null, join: this.namespaces });
    const [controlRead, controlWrite] = this.kernel.pipe();
    let holder: Process | undefined;
    try {
      const started = this.kernel.start(program, {
        [HOLDER_FDS.sandbox]: this.sandbox.fd,
        [HOLDER_FDS.control]: controlRead,
      });
      await awaitReports(this.kernel, started, ['process', 'ready'], {
        what: `starting the holder of the pids of ${this.id}`,
        onReport: ({ name, fds }) => {
          if (name !== 'process') return false;
          holder = new Process(this.kernel, pidOf(fds[0]!), fds[0]!);
          return true;
        },
        abort: () => {
          if (holder && !holder.exit) this.kernel.signal(holder.fd, C.SIGKILL);
        },
      });
      started.reports.close();
      this.#holder = controlWrite;
      return holder!;
    } catch (error) {
      closeSync(controlWrite);
      throw error;
    } finally {
      closeSync(controlRead);
    }
  }

  /**
   * The tmpfs that the pod's containers share, as a mount attached nowhere: its fd is the caller's to close. The first who asks has it made as his
   * step describes it. @throws SiltError of the step that failed.
   */
  async openSharedMemory(step: FilesystemStep): Promise<number> {
    const made = this.#sharedMemory;
    if (made === undefined) {
      const first = this.#reportOf(makeSharedMemoryProgram(step, hostOwner(this.idMaps, 0, 0, '$.linux.uidMappings')));
      this.#sharedMemory = first;
      return first.catch((error: unknown) => {
        this.#sharedMemory = undefined;
        throw error;
      });
    }
    await made;
    return this.#reportOf(openSharedMemoryProgram());
  }

  async #reportOf(program: Program): Promise<number> {
    const started = this.kernel.start(program, { [KEEPER]: this.sandbox.fd });
    const what = `preparing the shared memory of ${this.id}`;
    const { memory } = await awaitReports(this.kernel, started, ['memory'], { what });
    started.reports.close();
    return memory.fds[0]!;
  }

  /** Takes a container's upper out of the sandbox; a pod that has ended has none any more. */
  async dropUpper(id: string): Promise<void> {
    if (this.sandbox.exit) return;
    await this.kernel.ended(this.kernel.start(dropUpperProgram(id), { [KEEPER]: this.sandbox.fd }));
  }

  /** Lets the pod live on when this process ends: whoever ends it finds it by its state. */
  detach(): void {
    if (this.#control !== undefined) writeSync(this.#control, 'x');
    this.#letGo();
  }

  /**
   * Ends the pod and everything in it, and waits until the sandbox is gone; or, where somebody has still to reap what was in the pod, until
   * it has let go of its namespaces: as process 1 it ends only then. That is so for a pod that another process has started, and in the middle of
   * a creation that waits for a hook.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.#letGo();
    if (!this.sandbox.exit) this.kernel.signal(this.sandbox.fd, C.SIGKILL);
    const { exited } = this.sandbox;
    const hasLetGo = (): boolean => !existsSync(`/proc/${this.sandbox.pid}/ns/mnt`);
    const letGo = this.#attached ? Promise.resolve() : sleep(REAPED_MS, undefined, { ref: false });
    await Promise.race([exited, letGo.then(() => retryWithin(LET_GO_MS, hasLetGo))]);
  }

  #letGo(): void {
    for (const fd of [this.#control, this.#userns, this.#holder]) if (fd !== undefined) closeSync(fd);
    this.#control = this.#userns = this.#holder = undefined;
  }
}
