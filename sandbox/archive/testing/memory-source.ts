import type { Source } from '../reader/source';

/** An archive in memory, as a file that can be jumped in or as a stream that comes in pieces of `step` bytes. */
export class MemorySource implements Source {
  readonly fd = undefined;
  readonly compressed = false;
  readonly size: number | undefined;
  #at = 0;

  constructor(
    readonly data: Buffer,
    readonly seekable = true,
    readonly step = Infinity,
  ) {
    this.size = seekable ? data.length : undefined;
  }

  read(into: Buffer, offset: number): number | Promise<number> {
    const from = this.seekable ? offset : this.#at;
    const count =
      from >= this.data.length ? 0 : this.data.copy(into, 0, from, Math.min(this.data.length, from + this.step));
    this.#at += count;
    return this.seekable ? count : Promise.resolve(count);
  }

  close(): void {
    // It has nothing of its own.
  }
}
