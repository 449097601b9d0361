import type { Cgroup } from './cgroup';
import { SiltError } from '../../errors';

export const U64_MAX = 2n ** 64n - 1n;
export const I64_MAX = 2n ** 63n - 1n;
export const U32_MAX = 2n ** 32n - 1n;

/** One value to be written into one cgroup file with a single write(2). */
export interface Write {
  /** Absolute path on the host. */
  readonly file: string;
  readonly value: string;
  /** What this is, for messages and for printed plans: `memory limit`. */
  readonly why: string;
  /** Where the spec asks for it; absent for what silt adds by itself. */
  readonly jsonPath?: string;
  /** A kernel without this file is as good: the write is left out. */
  readonly optional?: boolean;
  /** Written when `file` is not there: another interface for the same thing. */
  readonly otherwise?: { readonly file: string; readonly value: string };
}

/** The limits in force, for changes whose order or validity depends on them. A fresh cgroup has none of them. */
export interface LimitsInForce {
  /** Bytes; undefined: unlimited. */
  readonly memory?: bigint;
  /** v1: memory + swap, v2: swap alone. Bytes; undefined: unlimited. */
  readonly swap?: bigint;
  /** Bytes that the cgroup uses now. */
  readonly memoryUsage?: bigint;
  /** Microseconds; undefined: unlimited. */
  readonly quota?: bigint;
  readonly period?: bigint;
  readonly burst?: bigint;
  /** v1 only. */
  readonly realtimePeriod?: bigint;
}

/** What every planner of one part of the resources gets. */
export interface Planning {
  readonly cgroup: Cgroup;
  /** JSON path of the resources object, `$.linux.resources` or `$` for an update document. */
  readonly at: string;
  readonly inForce: LimitsInForce;
  readonly updating: boolean;
}

/** A number of a JSON document. bigint too, for readers that keep 64-bit integers whole. */
export type JsonNumber = number | bigint;

export function specInvalid(jsonPath: string, message: string): SiltError {
  return new SiltError('SPEC_INVALID', `${jsonPath}: ${message}`, { jsonPath });
}

export function specUnsupported(jsonPath: string, message: string): SiltError {
  return new SiltError('SPEC_UNSUPPORTED', `${jsonPath}: ${message}`, { jsonPath });
}

/**
 * The integer at a place of the spec, undefined when it is not given (null counts as not given, as in Go).
 * Raises SPEC_INVALID when it is no integer from `min` to `max`.
 */
export function toInteger(
  value: JsonNumber | null | undefined,
  jsonPath: string,
  range: { readonly min: bigint; readonly max: bigint },
): bigint | undefined {
  if (value === undefined || value === null) return undefined;
  const whole = typeof value === 'bigint' || Number.isInteger(value);
  const integer = whole ? BigInt(value) : undefined;
  if (integer === undefined || integer < range.min || integer > range.max) {
    throw specInvalid(
      jsonPath,
      `must be an integer from ${String(range.min)} to ${String(range.max)}, not ${String(value)}`,
    );
  }
  return integer;
}

/** The same, with 0 meaning "not set" whatever the range, as runc and engines that fill Go structs have it. */
export function toSetting(
  value: JsonNumber | null | undefined,
  jsonPath: string,
  range: { readonly min: bigint; readonly max: bigint },
): bigint | undefined {
  return value === 0 || value === 0n ? undefined : toInteger(value, jsonPath, range);
}
