import { closeSync, openSync } from 'node:fs';
import type { IdMaps } from '../gofer';
import { C, type Kernel } from '../syscall';
import { Process, pidOf } from './process';
import { dropUpperProgram, LAUNCH_FDS } from './programs/launch';
import { SANDBOX_FDS, sandboxProgram, type SandboxPlan } from './programs/sandbox';
import { awaitReports } from './started';

export interface PodNamespaceFds {
  /** Fds of namespaces that the pod joins instead of having its own; borrowed. */
  readonly network?: number;
  readonly ipc?: number;
  readonly uts?: number;
}

/** Which kinds of namespace the sandbox holds; the pod shares the others with the host. */
export interface PodNamespaces {
  readonly network: boolean;
  readonly ipc: boolean;
  readonly uts: boolean;
}

export function podNamespaces({ network, ipc, uts }: SandboxPlan): PodNamespaces {
  return { network: network !== 'host', ipc: ipc !== 'host', uts: uts !== 'host' };
}

/** A running pod: its sandbox process, and what holds it. */
export class Pod {
  #control: number | undefined;

  private constructor(
    private readonly kernel: Kernel,
    readonly plan: SandboxPlan,
    readonly sandbox: Process,
    control: number,
    /** The pod's user namespace, for idmapped mounts; undefined without one. */
    readonly userns: number | undefined,
  ) {
    this.#control = control;
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
      const userns = plan.idMaps ? openSync(`/proc/${sandbox!.pid}/ns/user`, 'r') : undefined;
      return new Pod(kernel, plan, sandbox!, controlWrite, userns);
    } catch (error) {
      closeSync(controlWrite);
      await sandbox?.exited;
      throw error;
    } finally {
      closeSync(controlRead);
    }
  }

  get namespaces(): PodNamespaces {
    return podNamespaces(this.plan);
  }

  get idMaps(): IdMaps | null {
    return this.plan.idMaps;
  }

  /** Takes a container's upper out of the sandbox; a pod that has ended has none any more. */
  async dropUpper(id: string): Promise<void> {
    if (this.sandbox.exit) return;
    const started = this.kernel.start(dropUpperProgram(id), { [LAUNCH_FDS.sandbox]: this.sandbox.fd });
    try {
      // No report is expected: the end of the socket is the end of the program.
      await started.reports.next();
    } finally {
      started.reports.close();
      this.kernel.reapGroup(started.pid, true);
      closeSync(started.pidfd);
    }
  }

  /** Ends the pod and everything in it, and waits until the sandbox is gone. */
  async close(): Promise<void> {
    if (this.#control !== undefined) {
      closeSync(this.#control);
      this.#control = undefined;
      if (this.userns !== undefined) closeSync(this.userns);
      if (!this.sandbox.exit) this.kernel.signal(this.sandbox.fd, C.SIGKILL);
    }
    await this.sandbox.exited;
  }
}
