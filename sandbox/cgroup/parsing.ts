/**
 * The text formats of cgroup files (cgroup-v2.rst, "Format"). Lines of another form are left out: newer kernels add
 * some.
 */

import { U64_MAX } from './values';

/** `max` of v2 as containerd's metrics have it: the largest u64. */
export const UNLIMITED = U64_MAX;

/** A file with one number or `max`. undefined when there is none (file missing, or other text). */
export function parseNumber(text: string | undefined): bigint | undefined {
  const word = text?.trim();
  if (word === 'max') return UNLIMITED;
  return word !== undefined && /^\d+$/.test(word) ? BigInt(word) : undefined;
}

/** `key number` lines. */
export function parseFlatKeyed(text: string): Map<string, bigint> {
  const values = new Map<string, bigint>();
  for (const match of text.matchAll(/^(\S+) (\d+)$/gm)) values.set(match[1]!, BigInt(match[2]!));
  return values;
}

/** `name key=number key=max …` lines, as in io.stat and rdma.max. */
export function parseNestedKeyed(text: string): Map<string, Map<string, bigint>> {
  const lines = new Map<string, Map<string, bigint>>();
  for (const line of text.split('\n')) {
    const [name, ...words] = line.trim().split(/\s+/);
    if (name === undefined || name === '') continue;
    const values = new Map<string, bigint>();
    for (const word of words) {
      const [key, value] = word.split('=');
      const number = parseNumber(value);
      if (key !== undefined && number !== undefined) values.set(key, number);
    }
    lines.set(name, values);
  }
  return lines;
}

/** One line of a blkio file of v1. */
export interface BlkioEntry {
  readonly op: string;
  /** Path in /dev, empty when the device is not in /proc/partitions. */
  readonly device: string;
  readonly major: bigint;
  readonly minor: bigint;
  readonly value: bigint;
}

/**
 * `8:0 Read 1282048` and `8:0 6792` lines; the grand total without a device is left out. `devices` as from {@link
 * parsePartitions}.
 */
export function parseBlkio(text: string, devices: ReadonlyMap<string, string>): BlkioEntry[] {
  return [...text.matchAll(/^(\d+):(\d+) (?:([A-Za-z]+) )?(\d+)$/gm)].map((match) => ({
    op: match[3] ?? '',
    device: devices.get(`${match[1]!}:${match[2]!}`) ?? '',
    major: BigInt(match[1]!),
    minor: BigInt(match[2]!),
    value: BigInt(match[4]!),
  }));
}

/** /proc/partitions: `8:0` to `/dev/sda`. */
export function parsePartitions(text: string): Map<string, string> {
  const rows = [...text.matchAll(/^\s*(\d+)\s+(\d+)\s+\d+\s+(\S+)$/gm)];
  return new Map(rows.map((match) => [`${match[1]!}:${match[2]!}`, `/dev/${match[3]!}`]));
}

/**
 * The numbers of these keys under the names that the metrics give them; a key that the kernel lacks is 0, as in
 * containerd.
 */
export function pick<Name extends string>(
  values: ReadonlyMap<string, bigint>,
  keys: Readonly<Record<Name, string>>,
): Record<Name, bigint> {
  const entries = Object.entries<string>(keys).map(([name, key]) => [name, values.get(key) ?? 0n]);
  return Object.fromEntries(entries) as Record<Name, bigint>;
}
