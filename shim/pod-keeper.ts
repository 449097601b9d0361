import type { Spec } from '../oci';
import { removeLeftPod } from './leftovers';
import { endPod, type Pod, startPod, type Workshop } from '../sandbox';

/** The shim's one pod: started for its first container, ended with its last. */
export class PodKeeper {
  #pod: Promise<Pod> | undefined;

  constructor(
    private readonly workshop: Workshop,
    readonly id: string,
    private readonly root: string,
    /** Where the shim listens; '' when that is not known. */
    private readonly socket: string,
  ) {}

  /** The pod, started by this call if it is the first. @throws SiltError. */
  get(spec: Spec): Promise<Pod> {
    this.#pod ??= this.#start(spec).catch((error: unknown) => {
      this.#pod = undefined;
      throw error;
    });
    return this.#pod;
  }

  async #start(spec: Spec): Promise<Pod> {
    const { state } = this.workshop;
    // Who listens on the pod's socket is its only shim: a state of that name is of one that was killed.
    if (state.hasPod(this.id)) await removeLeftPod(this.root, state, this.id);
    return startPod(this.workshop, { id: this.id, spec, ...(this.socket === '' ? {} : { socket: this.socket }) });
  }

  /** Ends the pod, if there is one, and removes its state. */
  async end(): Promise<void> {
    const pod = await this.#pod?.catch(() => undefined);
    this.#pod = undefined;
    await endPod(this.workshop, this.id, pod);
  }
}
