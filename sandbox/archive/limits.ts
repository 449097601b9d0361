/** What an archive may ask for. */
export interface Limits {
  /** Entries in the archive. */
  readonly maxEntries: number;
  /** Bytes of the contents of all files together. */
  readonly maxBytes: number;
  /** Components of a name. */
  readonly maxDepth: number;
  /** Bytes of all headers of one entry together: extended headers and sparse map. */
  readonly maxMetadata: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxEntries: Infinity,
  maxBytes: Infinity,
  maxDepth: 1024,
  maxMetadata: 16 << 20,
};
