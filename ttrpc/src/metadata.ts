/** Metadata: names and values that go with a request, as headers do in HTTP. */
import type { KeyValue } from './codec';

/** What a caller passes: one value or several for each name. Names are sent in lower case. */
export type MetadataInit = Readonly<Record<string, string | readonly string[]>>;

/** The metadata of a received request. Names are compared without regard to case. */
export class Metadata implements Iterable<KeyValue> {
  constructor(private readonly list: readonly KeyValue[]) {}

  /** The first value of a name, or undefined. */
  get(name: string): string | undefined {
    const wanted = name.toLowerCase();
    return this.list.find((entry) => entry.key.toLowerCase() === wanted)?.value;
  }

  /** All values of a name, in the order sent. */
  getAll(name: string): string[] {
    const wanted = name.toLowerCase();
    return this.list.filter((entry) => entry.key.toLowerCase() === wanted).map((entry) => entry.value);
  }

  /** Every entry as it was sent. */
  [Symbol.iterator](): Iterator<KeyValue> {
    return this.list[Symbol.iterator]();
  }
}

const NO_ENTRIES: readonly KeyValue[] = [];

/** The wire form of what a caller passed. */
export function metadataEntries(init: MetadataInit | undefined): readonly KeyValue[] {
  if (init === undefined) return NO_ENTRIES;
  const entries: KeyValue[] = [];
  for (const [name, values] of Object.entries(init)) {
    const key = name.toLowerCase();
    for (const value of typeof values === 'string' ? [values] : values) entries.push({ key, value });
  }
  return entries;
}
