/** Steps to take back when a creation fails, newest first. */
export class UndoStack {
  readonly #steps: (() => void | Promise<void>)[] = [];

  add(step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.reverse()) {
      try {
        await step();
      } catch {
        // The first failure is what the caller has to hear of; an undo that fails too must not hide it.
      }
    }
  }
}
