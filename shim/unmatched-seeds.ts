import { containerName, SEED_ANNOTATION, seededNames } from '../sandbox';

type Annotations = Readonly<Record<string, string>>;

/** How long after its latest container a pod is taken to be complete. */
const COMPLETE_MS = 60_000;

/**
 * Watches for seeds whose container never comes, as after a misspelt name: `dev.gvisor.tar.rootfs.upper.wbe` of a pod with a
 * container web. What a pod consists of is said nowhere, so this tells when no container has come for a minute, or at the
 * pod's end; each name once.
 */
export class UnmatchedSeeds {
  readonly #waiting = new Map<string, string>();
  readonly #seen = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly warn: (message: string) => void,
    private readonly completeMs = COMPLETE_MS,
  ) {}

  /** A container of the pod has been asked for. Every one carries the pod's annotations. */
  add(annotations: Annotations): void {
    const name = containerName(annotations);
    if (name !== undefined) this.#seen.add(name);
    for (const seeded of seededNames(annotations)) {
      if (!this.#waiting.has(seeded)) this.#waiting.set(seeded, annotations[`${SEED_ANNOTATION}.${seeded}`]!);
    }
    clearTimeout(this.#timer);
    if (this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => this.report(), this.completeMs);
    this.#timer.unref();
  }

  /** Tells of the names that no container has had so far, and does not come back to them. */
  report(): void {
    clearTimeout(this.#timer);
    for (const [name, seed] of this.#waiting) {
      if (this.#seen.has(name)) continue;
      this.#seen.add(name);
      const names = [...this.#seen].filter((seen) => !this.#waiting.has(seen)).join(', ') || 'none';
      this.warn(
        `the annotation ${SEED_ANNOTATION}.${name} gives the seed ${seed} to a container that the pod does not have (others it has: ${names})`,
      );
    }
  }
}
