import type { Spec } from '../oci';
import { removeLeftPod } from './leftovers';
import { type Config, endPod, joinedPod, type Pod, podEnding, startPod, type Workshop } from '../sandbox';

/** The shim's one pod: started for its first container, ended with its last. */
export class PodKeeper {
  #pod: Promise<Pod> | undefined;
  #held = false;

  constructor(
    private readonly workshop: Workshop,
    readonly id: string,
    private readonly root: string,
    /** Where the shim listens; '' when that is not known. */
    private readonly socket: string,
  ) {}

  /**
   * The pod of a container, started by this call if it is the first, with this configuration. @throws SiltError; WRONG_STATE for a
   * container that comes to a pod that has ended.
   */
  get(spec: Spec, container = this.id, config = this.workshop.config): Promise<Pod> {
    if (!this.#pod && joinedPod(container, spec) === this.id) return Promise.reject(podEnding(this.id, container));
    this.#pod ??= this.#start(spec, config).catch((error: unknown) => {
      this.#pod = undefined;
      throw error;
    });
    return this.#pod;
  }

  /** Starts a pod that does not end with its last container. @throws SiltError. */
  async hold(spec: Spec, config = this.workshop.config): Promise<Pod> {
    const pod = await this.get(spec, this.id, config);
    this.#held = true;
    return pod;
  }

  /** Whether the pod stays without containers. */
  get held(): boolean {
    return this.#held;
  }

  /** Ends the pod that was held, and keeps its state until {@link end}: its containers are still to be deleted. */
  async letGo(): Promise<void> {
    this.#held = false;
    const pod = await this.#pod?.catch(() => undefined);
    await pod?.close();
  }

  /** Ends a pod that has no container left, unless it is held. */
  async endUnlessHeld(): Promise<void> {
    if (!this.#held) await this.end();
  }

  async #start(spec: Spec, config: Config): Promise<Pod> {
    const { state } = this.workshop;
    // Who listens on the pod's socket is its only shim: a state of that name is of one that was killed.
    if (state.hasPod(this.id)) await removeLeftPod(this.root, state, this.id);
    const workshop = { ...this.workshop, config };
    return startPod(workshop, { id: this.id, spec, ...(this.socket === '' ? {} : { socket: this.socket }) });
  }

  /** Ends the pod, if there is one, and removes its state. What else has that name is another shim's. */
  async end(): Promise<void> {
    const pod = await this.#pod?.catch(() => undefined);
    this.#pod = undefined;
    if (pod) await endPod(this.workshop, this.id, pod);
  }
}
