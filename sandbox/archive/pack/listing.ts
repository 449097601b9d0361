/** The names in a directory, sorted by their bytes. */
import type { ByteString } from '../codec/bytes';
import type { Batch } from '../io/batch';
import { getdents } from '../io/calls';
import { forEachDirent } from '../io/dirents';

// Most of the directories of a tree are small, many of an upper's are empty.
const NO_DATA = Buffer.alloc(0);
const NO_PLACES = new Uint32Array(0);

/** Names and types, packed into one buffer: a directory may have a million of them. */
export class Listing {
  /** For each entry its type, the length of its name, and the name. */
  #data: Buffer = NO_DATA;
  #size = 0;
  #places = NO_PLACES;
  #count = 0;

  /** Adds the name that lies in `from`. */
  add(from: Buffer, start: number, end: number, type: number): void {
    const length = end - start;
    if (this.#size + length + 2 > this.#data.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#data.length * 2, 1024));
      this.#data.copy(grown, 0, 0, this.#size);
      this.#data = grown;
    }
    if (this.#count === this.#places.length) {
      const grown = new Uint32Array(Math.max(this.#count * 2, 32));
      grown.set(this.#places);
      this.#places = grown;
    }
    this.#places[this.#count++] = this.#size;
    this.#data[this.#size] = type;
    this.#data[this.#size + 1] = length;
    from.copy(this.#data, this.#size + 2, start, end);
    this.#size += length + 2;
  }

  sort(): this {
    const data = this.#data;
    this.#places.subarray(0, this.#count).sort((a, b) => compare(data, a, b));
    return this;
  }

  get length(): number {
    return this.#count;
  }

  name(index: number): ByteString {
    const at = this.#places[index]!;
    return this.#data.toString('latin1', at + 2, at + 2 + this.#data[at + 1]!) as ByteString;
  }

  /** DT_*, what the filesystem says about its type. */
  type(index: number): number {
    return this.#data[this.#places[index]!]!;
  }
}

function compare(data: Buffer, a: number, b: number): number {
  const [lengthA, lengthB] = [data[a + 1]!, data[b + 1]!];
  const common = Math.min(lengthA, lengthB);
  for (let i = 2; i < common + 2; i++) {
    const difference = data[a + i]! - data[b + i]!;
    if (difference !== 0) return difference;
  }
  return lengthA - lengthB;
}

const CHUNK = 64 << 10;

/** Reads a directory from its beginning. @returns the errno when that fails. */
export function readListing(batch: Batch, fd: number): Listing | string {
  const listing = new Listing();
  for (;;) {
    batch.clear();
    const result = batch.newSlot();
    const at = batch.space(CHUNK);
    getdents(batch, result, fd, at, CHUNK);
    const failure = batch.run();
    if (failure) return failure.errno;
    const length = batch.slot(result);
    if (length === 0) return listing.sort();
    forEachDirent(batch.image, at, length, (start, end, type) => listing.add(batch.image, start, end, type));
  }
}
