/**
 * Small checks that add up to the shape of a JSON document. Each takes a value of JSON.parse and its JSON path and gives
 * the value back as its type, or throws SPEC_INVALID with the path, what is there, and what should be.
 *
 * null counts as absent everywhere, as it does for the Go programs that write these documents.
 */
import { type ErrorCode, SiltError } from '../../errors';

export type Check<T> = (value: unknown, path: string) => T;

/** The error for a value. `expected` goes on after "must be", such as `an absolute path`. */
export function invalid(path: string, value: unknown, expected: string): SiltError {
  return refuse(path, `must be ${expected}, found ${show(value)}`);
}

/** An error about the value at `path`, in free words. */
export function refuse(path: string, message: string, code: ErrorCode = 'SPEC_INVALID'): SiltError {
  return new SiltError(code, `${path}: ${message}`, { jsonPath: path });
}

const SHOWN = 80;

/** A value as it would stand in JSON, cut short. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (typeof value === 'bigint') return `${value}`;
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : `a list of ${value.length}`;
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value);
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}…`;
}

/** The path of a member: `$.process.env`, `$.annotations["a.b"]`. */
export function memberPath(path: string, key: string): string {
  return /^[A-Za-z_]\w*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

/** Text without a NUL, which no system call could take. */
export function string(value: unknown, path: string): string {
  if (typeof value !== 'string') throw invalid(path, value, 'a string');
  if (value.includes('\0')) throw invalid(path, value, 'a string without NUL');
  return value;
}

export function boolean(value: unknown, path: string): boolean {
  if (typeof value !== 'boolean') throw invalid(path, value, 'true or false');
  return value;
}

/** A string that `test` accepts; `expected` describes those. */
export function text(test: (value: string) => boolean, expected: string): Check<string> {
  return (value, path) => {
    const found = string(value, path);
    if (!test(found)) throw invalid(path, found, expected);
    return found;
  };
}

export const nonEmpty = text((value) => value !== '', 'a string that is not empty');
export const absolutePath = text((value) => value.startsWith('/'), 'an absolute path');

export function oneOf<T extends string>(...values: readonly T[]): Check<T> {
  return (value, path) => {
    const found = values.find((one) => one === value);
    if (found === undefined) throw invalid(path, value, `one of ${values.join(', ')}`);
    return found;
  };
}

/** An exact integer: a number where that holds it, otherwise a bigint. */
export function wideInteger(min: bigint, max: bigint): Check<number | bigint> {
  return (value, path) => {
    const whole = typeof value === 'bigint' || (typeof value === 'number' && Number.isInteger(value));
    if (!whole || BigInt(value) < min || BigInt(value) > max) {
      throw invalid(path, value, `an integer from ${min} to ${max}`);
    }
    return value;
  };
}

/**
 * An integer. Where a number cannot hold one exactly (over 2^53: limits that mean "none" in practice), the nearest number
 * that is still in range stands for it.
 */
export function integer(min: bigint | number, max: bigint | number): Check<number> {
  const exact = wideInteger(BigInt(min), BigInt(max));
  return (value, path) => {
    const found = exact(value, path);
    const number = Number(found);
    if (typeof found === 'number' || Number.isSafeInteger(number)) return number;
    // Doubles below 2^64 are at most 2048 apart.
    return BigInt(number) > BigInt(max) ? Number(found - 2048n) : number;
  };
}

export const uint16 = integer(0, 0xffff);
export const uint32 = integer(0, 0xffffffff);
export const int64 = integer(-(2n ** 63n), 2n ** 63n - 1n);
export const uint64 = integer(0, 2n ** 64n - 1n);
/** A uint64 that has to be exact. */
export const wide64 = wideInteger(0n, 2n ** 64n - 1n);

export function list<T>(item: Check<T>): Check<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw invalid(path, value, 'a list');
    return value.map((one, i) => item(one, `${path}[${i}]`));
  };
}

function record(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(path, value, 'an object');
  return value as Record<string, unknown>;
}

/** An object with any keys. */
export function map<T>(item: Check<T>): Check<Record<string, T>> {
  return (value, path) => {
    const entries = Object.entries(record(value, path)).map(([key, one]) => {
      if (key.includes('\0')) throw refuse(path, `the name ${show(key)} has a NUL in it`);
      return [key, item(one, memberPath(path, key))] as const;
    });
    return Object.fromEntries(entries);
  };
}

/** A check for each field of T. */
export type Fields<T> = { readonly [K in keyof T]-?: Check<Exclude<T[K], undefined>> };

/**
 * The member of that name; without one, one whose name differs in case alone, as Go's encoding/json does it for everybody else who
 * reads these documents.
 */
export function memberOf(members: Readonly<Record<string, unknown>>, key: string): unknown {
  if (Object.hasOwn(members, key)) return members[key];
  const name = Object.keys(members).find((one) => one.length === key.length && one.toLowerCase() === key.toLowerCase());
  return name === undefined ? undefined : members[name];
}

/** An object; fields that `fields` does not name are not looked at and not kept, which is what OCI asks for. */
export function object<T extends object>(fields: Fields<T>, required: readonly (keyof T & string)[] = []): Check<T> {
  const checks = Object.entries<Check<unknown>>(fields);
  return (value, path) => {
    const members = record(value, path);
    const result: Record<string, unknown> = {};
    for (const [key, check] of checks) {
      const member = memberOf(members, key);
      if (member !== undefined && member !== null) result[key] = check(member, memberPath(path, key));
      else if (required.some((one) => one === key)) throw refuse(memberPath(path, key), 'is required and missing');
    }
    return result as T;
  };
}
