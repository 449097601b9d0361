/** The names in a directory, sorted by their bytes. */
import type { ByteString } from '../codec/bytes';
import type { Batch } from '../io/batch';
import { getdents } from '../io/calls';
import { forEachDirent } from '../io/dirents';

/** Names and types, packed into one string each: a directory may have a million of them. */
export class Listing {
  readonly #entries: string[] = [];

  add(name: ByteString, type: number): void {
    this.#entries.push(`${name}\0${String.fromCharCode(type)}`);
  }

  /** NUL is in no name and less than every byte, so what stands behind it does not change the order of the names. */
  sort(): this {
    this.#entries.sort();
    return this;
  }

  get length(): number {
    return this.#entries.length;
  }

  name(index: number): ByteString {
    const entry = this.#entries[index]!;
    return entry.slice(0, entry.length - 2) as ByteString;
  }

  /** DT_*, what the filesystem says about its type. */
  type(index: number): number {
    const entry = this.#entries[index]!;
    return entry.charCodeAt(entry.length - 1);
  }
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
    forEachDirent(batch.image, at, length, (name, type) => listing.add(name, type));
  }
}

