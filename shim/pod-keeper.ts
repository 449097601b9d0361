import { closeSync, openSync } from 'node:fs';
import { SiltError } from '../errors';
import type { Spec } from '../oci';
import { removeLeftPod } from './leftovers';
import { NO_PROCESS, Pod, podIdRanges, podPlan, recordProcess, type Workshop } from '../sandbox';

/** The shim's one pod: started for its first container, ended with its last. */
export class PodKeeper {
  #pod: Promise<Pod> | undefined;
  #range: number | undefined;
  readonly #ranges;

  constructor(
    private readonly workshop: Workshop,
    readonly id: string,
    private readonly root: string,
    /** Where the shim listens; '' when that is not known. */
    private readonly socket: string,
  ) {
    this.#ranges = podIdRanges(root, workshop.config);
  }

  /** The pod, started by this call if it is the first. @throws SiltError. */
  get(spec: Spec): Promise<Pod> {
    this.#pod ??= this.#start(spec).catch((error: unknown) => {
      this.#pod = undefined;
      this.#release();
      this.workshop.state.removePod(this.id);
      throw error;
    });
    return this.#pod;
  }

  async #start(spec: Spec): Promise<Pod> {
    const { kernel, state, config } = this.workshop;
    // Who listens on the pod's socket is its only shim: a state of that name is of one that was killed.
    if (state.hasPod(this.id)) await removeLeftPod(this.root, state, this.id);
    const claimIds = () => {
      const { index, idMaps } = this.#ranges.claim();
      this.#range = index;
      return idMaps;
    };
    const plan = podPlan({ id: this.id, spec, config, claimIds });
    const fds: Partial<Record<'network' | 'ipc' | 'uts', number>> = {};
    try {
      for (const [kind, path] of Object.entries(plan.paths) as ['network' | 'ipc' | 'uts', string][]) {
        fds[kind] = openNamespace(kind, path);
      }
      const range = this.#range === undefined ? {} : { idRange: this.#range };
      const socket = this.socket === '' ? {} : { socket: this.socket };
      const record = { id: this.id, idMaps: plan.sandbox.idMaps, ...range, ...socket };
      // Before the sandbox is there: whoever cleans up after this process has to know of the range.
      state.addPod({ ...record, sandbox: NO_PROCESS });
      const pod = await Pod.start(kernel, plan.sandbox, fds);
      state.addPod({ ...record, sandbox: recordProcess(pod.sandbox.pid) });
      return pod;
    } finally {
      for (const fd of Object.values(fds)) closeSync(fd);
    }
  }

  /** Ends the pod, if there is one, and removes its state. */
  async end(): Promise<void> {
    const pod = await this.#pod?.catch(() => undefined);
    this.#pod = undefined;
    await pod?.close();
    this.#release();
    this.workshop.state.removePod(this.id);
  }

  #release(): void {
    if (this.#range !== undefined) this.#ranges.release(this.#range);
    this.#range = undefined;
  }
}

function openNamespace(kind: string, path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new SiltError(
      'SPEC_INVALID',
      `$.linux.namespaces: cannot open the ${kind} namespace ${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    );
  }
}
