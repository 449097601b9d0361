import { U32_MAX, specInvalid, toInteger } from './values';
import type { DeviceRule } from '../../oci';

/** Access bits, numbered as in struct bpf_cgroup_dev_ctx (linux/bpf.h). */
export const Access = { mknod: 1, read: 2, write: 4, all: 7 } as const;

/** Allows or denies some access to devices of one type. `any` stands for every number. */
export interface PolicyRule {
  readonly allow: boolean;
  readonly type: 'b' | 'c';
  readonly major: number | 'any';
  readonly minor: number | 'any';
  /** Bits of {@link Access}. */
  readonly access: number;
  /** Where the spec says so; absent for silt's own rules. */
  readonly jsonPath?: string;
}

/** The last rule that speaks of an access decides; what none speaks of gets `otherwise`. */
export interface DevicePolicy {
  readonly otherwise: 'allow' | 'deny';
  readonly rules: readonly PolicyRule[];
}

function allow(type: 'b' | 'c', numbers: readonly [number | 'any', number | 'any'], access: number): PolicyRule {
  return { allow: true, type, major: numbers[0], minor: numbers[1], access };
}

/**
 * What a container may do whatever the spec's own rules say, as in runc (specconv, AllowedDevices): make any
 * node, and use the devices that config-linux.md asks for in /dev, ptys and /dev/net/tun.
 */
export const ALWAYS_ALLOWED: readonly PolicyRule[] = [
  allow('c', ['any', 'any'], Access.mknod),
  allow('b', ['any', 'any'], Access.mknod),
  allow('c', [1, 3], Access.all), // null
  allow('c', [1, 8], Access.all), // random
  allow('c', [1, 7], Access.all), // full
  allow('c', [5, 0], Access.all), // tty
  allow('c', [1, 5], Access.all), // zero
  allow('c', [1, 9], Access.all), // urandom
  allow('c', [136, 'any'], Access.all), // pts/*
  allow('c', [5, 2], Access.all), // ptmx
  allow('c', [10, 200], Access.all), // net/tun
];

function parseAccess(access: string | undefined, jsonPath: string): number {
  if (access === undefined || !/^[rwm]+$/.test(access)) {
    throw specInvalid(jsonPath, `must be made of r, w and m, not ${JSON.stringify(access)}`);
  }
  return accessBits(access);
}

/** The bits of letters out of `rwm`. */
export function accessBits(letters: string): number {
  const bit = (letter: string, value: number): number => (letters.includes(letter) ? value : 0);
  return bit('r', Access.read) | bit('w', Access.write) | bit('m', Access.mknod);
}

/** -1 is a wildcard too, as in runc. */
function parseNumber(value: number | undefined, jsonPath: string): number | 'any' {
  const number = toInteger(value, jsonPath, { min: -1n, max: U32_MAX });
  return number === undefined || number === -1n ? 'any' : Number(number);
}

/**
 * The policy of `resources.devices`: what the spec says in its order. Without a rule that says otherwise all is denied,
 * and then {@link ALWAYS_ALLOWED} comes last; where all is allowed it is left out, it could only undo what the spec
 * denies. A rule for all types, all numbers and all access starts anew, as on v1; one for all types but with numbers or
 * less than `rwm` means just that, on both types (v1 and runc would take it for everything).
 * Raises SPEC_INVALID.
 */
export function parseDevicePolicy(devices: readonly DeviceRule[] | undefined, at: string): DevicePolicy {
  let otherwise: DevicePolicy['otherwise'] = 'deny';
  let rules: PolicyRule[] = [];
  for (const [index, device] of (devices ?? []).entries()) {
    const jsonPath = `${at}.devices[${index}]`;
    const type: string = device.type ?? 'a';
    if (type !== 'a' && type !== 'b' && type !== 'c') {
      throw specInvalid(`${jsonPath}.type`, `must be a, b or c, not ${JSON.stringify(type)}`);
    }
    const access = parseAccess(device.access, `${jsonPath}.access`);
    const major = parseNumber(device.major, `${jsonPath}.major`);
    const minor = parseNumber(device.minor, `${jsonPath}.minor`);
    if (type === 'a' && major === 'any' && minor === 'any' && access === Access.all) {
      otherwise = device.allow ? 'allow' : 'deny';
      rules = [];
      continue;
    }
    const types = type === 'a' ? (['b', 'c'] as const) : ([type] as const);
    rules.push(...types.map((one) => ({ allow: device.allow, type: one, major, minor, access, jsonPath })));
  }
  return { otherwise, rules: otherwise === 'deny' ? [...rules, ...ALWAYS_ALLOWED] : rules };
}
