/** Turns of the event loop in the middle of long work: whoever else is served by this process must not wait for all of it. */
import { letOthersRun, milliseconds } from '../archive/io/breath';

/** How long it is worked without one. */
const BREATH_MS = 10;

export class Breath {
  #last = milliseconds();

  /** To be awaited between two pieces of work; settles at once unless it is time. */
  async take(): Promise<void> {
    if (milliseconds() - this.#last < BREATH_MS) return;
    await letOthersRun();
    this.#last = milliseconds();
  }
}
