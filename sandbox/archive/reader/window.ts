/** The part of an archive that is in memory: headers and small bodies are parsed in it, large bodies never enter it. */
import type { Source } from './source';

const SMALLEST_READ = 64 << 10;
const LARGEST_READ = 1 << 20;

export class Window {
  #data = Buffer.allocUnsafeSlow(LARGEST_READ);
  #at = 0;
  #end = 0;
  #offset = 0;
  #skipping = 0;
  #ended = false;
  /** Grows while everything that was read is wanted, so that neither small files nor large ones cost much. */
  #readSize = SMALLEST_READ;

  constructor(readonly source: Source) {}

  /** The buffer that holds the window: its bytes are those from `at` up to `end`. */
  get data(): Buffer {
    return this.#data;
  }
  get at(): number {
    return this.#at;
  }
  get end(): number {
    return this.#end;
  }
  /** The archive's byte offset of `at`. */
  get offset(): number {
    return this.#offset;
  }
  /** How many of the bytes that were to be skipped have not been seen yet. */
  get missing(): number {
    return this.#skipping;
  }
  /** Are there no more bytes behind `end`? */
  get ended(): boolean {
    return this.#ended;
  }

  /** Moves on by `count` bytes, also beyond what is in memory. */
  skip(count: number): void {
    const inside = Math.min(count, this.#end - this.#at);
    this.#at += inside;
    this.#offset += inside;
    if (inside === count) return;
    if (this.source.seekable) {
      this.#offset += count - inside;
      this.#readSize = SMALLEST_READ;
    } else {
      this.#skipping += count - inside;
    }
  }

  /** Reads until `wanted` bytes are there or the archive ends; what was there may move. */
  fill(wanted: number): void | Promise<void> {
    this.#makeRoom(wanted);
    for (;;) {
      if (this.#ended || (this.#skipping === 0 && this.#end - this.#at >= wanted)) return undefined;
      const got = this.#read();
      if (typeof got !== 'number') return this.#fillLater(got, wanted);
      this.#took(got);
    }
  }

  async #fillLater(first: Promise<number>, wanted: number): Promise<void> {
    this.#took(await first);
    await this.fill(wanted);
  }

  #makeRoom(wanted: number): void {
    const size = Math.max(wanted, LARGEST_READ);
    const data = size > this.#data.length ? Buffer.allocUnsafeSlow(size) : this.#data;
    this.#data.copy(data, 0, this.#at, this.#end);
    this.#data = data;
    this.#end -= this.#at;
    this.#at = 0;
  }

  #read(): number | Promise<number> {
    const room = Math.min(this.#data.length - this.#end, this.#readSize);
    this.#readSize = Math.min(this.#readSize * 2, LARGEST_READ);
    return this.source.read(this.#data.subarray(this.#end, this.#end + room), this.#offset + this.#end - this.#at);
  }

  #took(count: number): void {
    if (count === 0) this.#ended = true;
    const skipped = Math.min(this.#skipping, count);
    this.#skipping -= skipped;
    this.#offset += skipped;
    // While skipping the window is empty, so what follows the skipped bytes moves to its front.
    if (skipped > 0) this.#data.copyWithin(0, skipped, count);
    this.#end += count - skipped;
  }
}
