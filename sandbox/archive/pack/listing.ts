/** The names in a directory, sorted by their bytes. */
import type { ByteString } from '../codec/bytes';
import type { Batch } from '../io/batch';
import { getdents } from '../io/calls';
import { forEachDirent } from '../io/dirents';

// Most of the directories of a tree are small, many of an upper's are empty.
const NO_DATA = Buffer.alloc(0);
const NO_PLACES = new Uint32Array(0);

/** Which of two directories, one laid over the other, has a name. */
export type Side = 'over' | 'under' | 'both';

/** The names of what is packed as one directory. */
export interface Names {
  readonly length: number;
  name(index: number): ByteString;
  /** Puts the name's bytes there, with a NUL behind them. @returns how many they are. */
  copyName(index: number, into: Uint8Array, at: number): number;
  /** DT_*, what the filesystem says about its type; of a name that both sides have, in the upper one. */
  type(index: number): number;
  side(index: number): Side;
}

/** Names and types, packed into one buffer: a directory may have a million of them. */
export class Listing implements Names {
  /** For each entry its type, the length of its name, and the name. */
  #data: Buffer = NO_DATA;
  #size = 0;
  #places: Uint32Array<ArrayBuffer> = NO_PLACES;
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
    const data = this.#data;
    for (let i = start, at = this.#size + 2; i < end; i++, at++) data[at] = from[i]!;
    this.#size += length + 2;
  }

  /** By merging in typed arrays: Array.prototype.sort and its like make objects of a million numbers. */
  sort(): this {
    const count = this.#count;
    let from = this.#places;
    let to = new Uint32Array(count);
    for (let width = 1; width < count; width *= 2) {
      for (let start = 0; start < count; start += 2 * width) this.#merge(from, to, start, width);
      [from, to] = [to, from.subarray(0, count)];
    }
    this.#places = from;
    return this;
  }

  #merge(from: Uint32Array, to: Uint32Array, start: number, width: number): void {
    const middle = Math.min(start + width, this.#count);
    const end = Math.min(start + 2 * width, this.#count);
    let left = start;
    let right = middle;
    for (let i = start; i < end; i++) {
      const takeLeft =
        left < middle && (right >= end || compare(this.#data, from[left]!, this.#data, from[right]!) <= 0);
      to[i] = from[takeLeft ? left++ : right++]!;
    }
  }

  get length(): number {
    return this.#count;
  }

  name(index: number): ByteString {
    const at = this.#places[index]!;
    return this.#data.toString('latin1', at + 2, at + 2 + this.#data[at + 1]!) as ByteString;
  }

  copyName(index: number, into: Uint8Array, at: number): number {
    const data = this.#data;
    const place = this.#places[index]!;
    const length = data[place + 1]!;
    for (let i = 0; i < length; i++) into[at + i] = data[place + 2 + i]!;
    into[at + length] = 0;
    return length;
  }

  type(index: number): number {
    return this.#data[this.#places[index]!]!;
  }

  side(): Side {
    return 'over';
  }

  /** Negative, zero or positive as this one's name comes before, is, or comes after the other's. */
  compareWith(index: number, other: Listing, otherIndex: number): number {
    return compare(this.#data, this.#places[index]!, other.#data, other.#places[otherIndex]!);
  }
}

/** The names of two directories, one laid over the other. */
export class MergedListing implements Names {
  /** Index in the upper listing and in the lower one; -1 where it has not that name. */
  readonly #indexes: Int32Array;
  #count = 0;

  constructor(
    readonly over: Listing,
    readonly under: Listing,
  ) {
    this.#indexes = new Int32Array(2 * (over.length + under.length));
    for (let i = 0, j = 0; i < over.length || j < under.length;) {
      const order = i === over.length ? 1 : j === under.length ? -1 : over.compareWith(i, under, j);
      this.#indexes[2 * this.#count] = order <= 0 ? i++ : -1;
      this.#indexes[2 * this.#count++ + 1] = order >= 0 ? j++ : -1;
    }
  }

  get length(): number {
    return this.#count;
  }

  name(index: number): ByteString {
    const [i, j] = this.#at(index);
    return i >= 0 ? this.over.name(i) : this.under.name(j);
  }

  copyName(index: number, into: Uint8Array, at: number): number {
    const [i, j] = this.#at(index);
    return i >= 0 ? this.over.copyName(i, into, at) : this.under.copyName(j, into, at);
  }

  type(index: number): number {
    const [i, j] = this.#at(index);
    return i >= 0 ? this.over.type(i) : this.under.type(j);
  }

  side(index: number): Side {
    const [i, j] = this.#at(index);
    return i < 0 ? 'under' : j < 0 ? 'over' : 'both';
  }

  #at(index: number): [over: number, under: number] {
    return [this.#indexes[2 * index]!, this.#indexes[2 * index + 1]!];
  }
}

function compare(dataA: Buffer, a: number, dataB: Buffer, b: number): number {
  const lengthA = dataA[a + 1]!;
  const lengthB = dataB[b + 1]!;
  const common = lengthA < lengthB ? lengthA : lengthB;
  for (let i = 2; i < common + 2; i++) {
    const difference = dataA[a + i]! - dataB[b + i]!;
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
