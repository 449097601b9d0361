/** Turns of the event loop in the middle of long work: whoever else is served by this process must not wait for all of it. */
import { setImmediate } from 'node:timers/promises';

/** How long it is worked without one. */
const BREATH_MS = 10;

export class Breath {
  #last = performance.now();

  /** To be awaited between two pieces of work; settles at once unless it is time. */
  async take(): Promise<void> {
    if (performance.now() - this.#last < BREATH_MS) return;
    await setImmediate();
    this.#last = performance.now();
  }
}
