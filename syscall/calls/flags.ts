import { C } from '../constants';
import { Named } from '../builder';

const expressions = new Map<string, Named>();

/**
 * The value of a flag expression such as `O_PATH|O_CLOEXEC`, which listings show as it is written.
 * @throws RangeError for a name that is not in the kernel's headers.
 */
export function flags(expression: string): Named {
  let named = expressions.get(expression);
  if (named) return named;
  let value = 0n;
  for (const name of expression.split('|')) {
    const bit = (C as Readonly<Record<string, number>>)[name];
    if (bit === undefined) throw new RangeError(`unknown constant ${name}`);
    value |= BigInt(bit);
  }
  named = new Named(value, expression);
  expressions.set(expression, named);
  return named;
}

/** `value` shown as the names with this prefix whose bits it has, such as `MS_`; 0 is shown as `0`. */
export function flagsOf(prefix: string, value: number): Named {
  return new Named(value, () => namesOf(prefix, BigInt(value)));
}

function namesOf(prefix: string, value: bigint): string {
  const names: string[] = [];
  let rest = value;
  for (const [name, bit] of Object.entries(C)) {
    if (!name.startsWith(prefix) || bit <= 0 || (BigInt(bit) & (BigInt(bit) - 1n)) !== 0n) continue;
    if ((rest & BigInt(bit)) === 0n) continue;
    rest &= ~BigInt(bit);
    names.push(name);
  }
  if (rest !== 0n || names.length === 0) names.push(rest === 0n ? '0' : `0x${rest.toString(16)}`);
  return names.join('|');
}

/** A file mode, shown in octal. */
export function mode(value: number): Named {
  return new Named(value, `0${value.toString(8)}`);
}

/** The NULL pointer, or a zero that stands for "none". */
export const NULL = new Named(0, 'NULL');
export const AT_FDCWD = new Named(-100, 'AT_FDCWD');
