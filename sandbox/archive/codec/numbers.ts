/** Numbers in tar headers: octal text, or base-256 (GNU, star) for what octal cannot hold. */

/**
 * Reads a numeric field. Gives `undefined` when it is neither octal nor base-256, and ±Infinity when its base-256 value
 * cannot be held exactly.
 */
export function readNumber(block: Uint8Array, at: number, length: number): number | undefined {
  const first = block[at]!;
  return (first & 0x80) !== 0 ? readBase256(block, at, length) : readOctal(block, at, length);
}

function readOctal(block: Uint8Array, at: number, length: number): number | undefined {
  const end = at + length;
  let value = 0;
  while (at < end && (block[at] === 0x20 || block[at] === 0)) at++;
  while (at < end) {
    const digit = block[at]! - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
    at++;
  }
  // A NUL or a space ends the number; nothing else may follow the digits.
  return at < end && block[at] !== 0 && block[at] !== 0x20 ? undefined : value;
}

/** Two's complement, big endian; the top bit only says that this is base-256, the next one is the sign. */
function readBase256(block: Uint8Array, at: number, length: number): number {
  const negative = (block[at]! & 0x40) !== 0;
  let value = BigInt(negative ? block[at]! | 0x80 : block[at]! & 0x7f);
  for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(block[at + i]!);
  if (negative) value -= 1n << BigInt(length * 8);
  const exact = Number(value);
  return Number.isSafeInteger(exact) ? exact : negative ? -Infinity : Infinity;
}

/** What an octal field of a length cannot hold any more: asked for several times for each entry. */
const OCTAL_ENDS = Array.from({ length: 13 }, (_, length) => 8 ** (length - 1));

/** Does the number fit into an octal field of this length (at most 12), its final NUL included? */
export function fitsOctal(value: number, length: number): boolean {
  return value >= 0 && value < OCTAL_ENDS[length]!;
}

/** Writes an octal field: zero-padded, ended by a NUL. @throws RangeError for what does not fit. */
export function writeOctal(block: Buffer, at: number, length: number, value: number): void {
  if (!fitsOctal(value, length)) throw new RangeError(`${value} does not fit into an octal field of ${length} bytes`);
  let i = at + length - 1;
  block[i--] = 0;
  // Beyond 31 bits the upper digits come last, and without bit operations, which would cut them off.
  let left = value;
  for (; left > 0x7fffffff; left = Math.floor(left / 8)) block[i--] = 0x30 + (left % 8);
  for (; i >= at; left >>>= 3) block[i--] = 0x30 + (left & 7);
}

/** A decimal number of a pax record: digits only. `undefined` for anything else, Infinity when too large to be exact. */
export function readDecimal(raw: Uint8Array): number | undefined {
  if (raw.length === 0) return undefined;
  let value = 0;
  for (const byte of raw) {
    const digit = byte - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return Number.isSafeInteger(value) ? value : Infinity;
}
