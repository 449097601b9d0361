import type { ByteString } from '../codec/bytes';

/** Of the names, and about as much for each of them as V8 takes besides. */
const MOST_BYTES = 8 << 20;
const OVERHEAD = 100;

/**
 * The whiteouts that are entries of their own, for what is linked to them. Most archives have one, but a million are no reason to
 * run out of memory: of more than there is room for only the first are known, and then any name may be one.
 */
export class WhiteoutNames {
  readonly #names = new Set<ByteString>();
  #left: number;

  constructor(mostBytes = MOST_BYTES) {
    this.#left = mostBytes;
  }

  add(path: ByteString): void {
    this.#left -= path.length + OVERHEAD;
    if (this.#left >= 0) this.#names.add(path);
  }

  /** No: it is none. */
  mayHave(path: ByteString): boolean {
    return this.#left < 0 || this.#names.has(path);
  }
}
