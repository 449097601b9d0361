/**
 * Maps of sparse files, in GNU tar's four encodings: the old `S` header, and pax records in versions 0.0, 0.1 and 1.0
 * (GNU tar manual, "Storing Sparse Files"). All of them list where stored bytes belong; the rest of the file is holes.
 */
import { BLOCK } from './header';
import { readDecimal, readNumber } from './numbers';
import type { PaxRecord } from './pax';

/** Offset and length of each stored run: `[at0, length0, at1, length1, …]`, ascending and without overlap. */
export type SparseMap = Float64Array;

export interface Sparse {
  readonly map: SparseMap;
  /** The file's size with its holes. */
  readonly size: number;
}

/** More runs than any real file has; bounds what a hostile archive can make us hold. */
export const MAX_RUNS = 1 << 20;

/** Collects a map, pair by pair, from numbers as they come. */
class MapBuilder {
  #numbers = new Float64Array(16);
  #count = 0;
  #fault: string | undefined;

  add(value: number | undefined): void {
    if (value === undefined || value < 0 || !Number.isFinite(value)) {
      this.#fault ??= 'a number of its sparse map is malformed';
    } else if (this.#count === MAX_RUNS * 2) {
      this.#fault ??= `its sparse map has more than ${MAX_RUNS} runs`;
    } else {
      if (this.#count === this.#numbers.length) {
        const grown = new Float64Array(this.#count * 2);
        grown.set(this.#numbers);
        this.#numbers = grown;
      }
      this.#numbers[this.#count++] = value;
    }
  }

  get runs(): number {
    return this.#count / 2;
  }

  get fault(): string | undefined {
    return this.#fault;
  }

  finish(size: number | undefined): Sparse | string {
    if (this.#fault !== undefined) return this.#fault;
    if (size === undefined || !Number.isSafeInteger(size) || size < 0)
      return 'the size of its sparse file is missing or malformed';
    if (this.#count % 2 !== 0) return 'its sparse map has an offset without a length';
    return { map: this.#numbers.subarray(0, this.#count), size };
  }
}

/** Checks a map against the file's size and the bytes that are stored for it. */
export function checkSparse({ map, size }: Sparse, stored: number): string | undefined {
  let end = 0;
  let sum = 0;
  for (let i = 0; i < map.length; i += 2) {
    const at = map[i]!;
    const length = map[i + 1]!;
    if (at < end) return `its sparse map goes backwards at ${at}`;
    end = at + length;
    sum += length;
    if (end > size) return `its sparse map reaches to ${end}, beyond the size of ${size}`;
  }
  return sum === stored ? undefined : `its sparse map adds up to ${sum} bytes, but ${stored} are stored`;
}

// Old GNU: four pairs in the header, then blocks of 21 pairs while the flag says so.
const OLD = { pairs: 386, count: 4, more: 482, size: 483, blockCount: 21, blockMore: 504 } as const;

/** The number of bytes that an old GNU header's map takes behind the header; `undefined`: more of it must be read. */
export function oldGnuMapLength(data: Buffer, header: number, end: number): number | undefined {
  let more = data[header + OLD.more] !== 0;
  let at = header + BLOCK;
  for (; more; at += BLOCK) {
    if (at + BLOCK > end) return undefined;
    more = data[at + OLD.blockMore] !== 0;
  }
  return at - header - BLOCK;
}

/** The map of an old GNU header whose {@link oldGnuMapLength} is `length`. */
export function oldGnuMap(data: Buffer, header: number, length: number): Sparse | string {
  const builder = new MapBuilder();
  const add = (at: number, count: number): void => {
    for (let i = 0; i < count; i++, at += 24) {
      if (data[at] === 0 || data[at + 12] === 0) return;
      builder.add(readNumber(data, at, 12));
      builder.add(readNumber(data, at + 12, 12));
    }
  };
  add(header + OLD.pairs, OLD.count);
  for (let at = header + BLOCK; at < header + BLOCK + length; at += BLOCK) add(at, OLD.blockCount);
  return builder.finish(readNumber(data, header + OLD.size, 12));
}

/** Version 0.0: the records `GNU.sparse.offset` and `GNU.sparse.numbytes`, over and over. */
export function paxMap00(records: readonly PaxRecord[], size: Buffer): Sparse | string {
  const builder = new MapBuilder();
  let expected = 'GNU.sparse.offset';
  for (const { key, value } of records) {
    if (key !== 'GNU.sparse.offset' && key !== 'GNU.sparse.numbytes') continue;
    if (key !== expected) return `its sparse map has ${key} where ${expected} belongs`;
    builder.add(readDecimal(value));
    expected = key === 'GNU.sparse.offset' ? 'GNU.sparse.numbytes' : 'GNU.sparse.offset';
  }
  return builder.finish(readDecimal(size));
}

/** Version 0.1: one record `GNU.sparse.map` with all numbers, separated by commas. */
export function paxMap01(map: Buffer, size: Buffer): Sparse | string {
  const builder = new MapBuilder();
  for (let at = 0; at < map.length && builder.fault === undefined;) {
    const comma = map.indexOf(0x2c, at);
    const end = comma < 0 ? map.length : comma;
    builder.add(readDecimal(map.subarray(at, end)));
    at = end + 1;
  }
  return builder.finish(readDecimal(size));
}

export interface StoredMap {
  readonly sparse: Sparse;
  /** Bytes that the map takes in front of the file's data, a multiple of 512. */
  readonly length: number;
}

/**
 * Version 1.0: the map stands in front of the data, decimal numbers ended by newlines: how many runs, then their pairs.
 * @returns `undefined` when more than the bytes up to `end` are needed.
 */
export function storedMap(data: Buffer, at: number, end: number, size: Buffer): StoredMap | string | undefined {
  const builder = new MapBuilder();
  const start = at;
  let runs: number | undefined;
  while (runs === undefined || builder.runs < runs) {
    const newline = data.indexOf(0x0a, at);
    if (newline < 0 || newline >= end) return end - at > 20 ? 'its sparse map is not a list of numbers' : undefined;
    const value = readDecimal(data.subarray(at, newline));
    if (value === undefined) return 'its sparse map is not a list of numbers';
    if (runs === undefined) runs = value;
    else builder.add(value);
    if (builder.fault !== undefined) return builder.fault;
    at = newline + 1;
  }
  const sparse = builder.finish(readDecimal(size));
  return typeof sparse === 'string' ? sparse : { sparse, length: Math.ceil((at - start) / BLOCK) * BLOCK };
}
