import { C } from '../syscall';
import type { Capabilities } from './spec';

/** The five capability sets of a process as bit masks; bit n is capability n (capabilities(7)). */
export interface CapabilityMasks {
  readonly bounding: bigint;
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
  readonly ambient: bigint;
}

export const CAPABILITY_SETS = ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'] as const;

const numbers = new Map<string, number>(
  Object.entries(C).filter(([name]) => name.startsWith('CAP_') && name !== 'CAP_LAST_CAP'),
);

/**
 * The sets as masks. A name that the kernel does not have (its last capability is `lastCapability`, from
 * /proc/sys/kernel/cap_last_cap) is left out, as runc does: see {@link unknownCapabilities} for the warning.
 *
 * A capability can only be ambient while it is permitted and inheritable; others are left out of the ambient set, which
 * is what runc's attempt to raise them comes to.
 */
export function capabilityMasks(capabilities: Capabilities, lastCapability: number): CapabilityMasks {
  const mask = (names: readonly string[] = []): bigint => {
    const known = names.map((name) => numbers.get(name)).filter((n) => n !== undefined && n <= lastCapability);
    return known.reduce<bigint>((bits, n) => bits | (1n << BigInt(n!)), 0n);
  };
  const permitted = mask(capabilities.permitted);
  const inheritable = mask(capabilities.inheritable);
  return {
    bounding: mask(capabilities.bounding),
    effective: mask(capabilities.effective),
    permitted,
    inheritable,
    ambient: mask(capabilities.ambient) & permitted & inheritable,
  };
}

/** The numbers in a set, ascending, for calls that take one capability at a time. */
export function capabilityList(mask: bigint): number[] {
  const list: number[] = [];
  for (let n = 0; mask >> BigInt(n) !== 0n; n++) if ((mask >> BigInt(n)) & 1n) list.push(n);
  return list;
}

/** Its name; `capability N` for one that silt does not know. */
export function capabilityName(number: number): string {
  return [...numbers].find(([, n]) => n === number)?.[0] ?? `capability ${number}`;
}

/** Names that this kernel or this silt does not have, each once, in the order of the sets. */
export function unknownCapabilities(capabilities: Capabilities, lastCapability: number): string[] {
  const names = CAPABILITY_SETS.flatMap((set) => capabilities[set] ?? []);
  return [...new Set(names)].filter((name) => (numbers.get(name) ?? Infinity) > lastCapability);
}

/** Names of ambient capabilities that the kernel will not raise, see {@link capabilityMasks}. */
export function unraisableCapabilities({ ambient = [], permitted = [], inheritable = [] }: Capabilities): string[] {
  return ambient.filter((name) => !permitted.includes(name) || !inheritable.includes(name));
}

/** Every capability that silt knows by name, for `silt features`. */
export function knownCapabilities(): string[] {
  return [...numbers.keys()].sort((a, b) => numbers.get(a)! - numbers.get(b)!);
}
