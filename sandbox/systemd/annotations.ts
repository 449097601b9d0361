import { SiltError } from '../../errors';
import { type Property, property } from './property';
import type { Value, Variant } from './wire';

const PREFIX = 'org.systemd.property.';
const SECOND_US = 1_000_000;

/**
 * Properties of the container's unit that its annotations give, as runc has them: `org.systemd.property.TimeoutStopUSec: uint64 123456789`.
 * The value is a GVariant in text ("GVariant Text Format" of GLib); a name that ends in `Sec` takes seconds, as in unit files. Pure.
 * @throws SiltError SPEC_INVALID naming the annotation.
 */
export function annotatedProperties(annotations: Readonly<Record<string, string>>): Property[] {
  return Object.entries(annotations).flatMap(([key, text]) => {
    if (!key.startsWith(PREFIX)) return [];
    const name = key.slice(PREFIX.length);
    const wrong = (what: string): SiltError => {
      const jsonPath = `$.annotations[${JSON.stringify(key)}]`;
      return new SiltError('SPEC_INVALID', `${jsonPath}: ${what}`, { jsonPath });
    };
    if (!/^[A-Za-z]{3,}$/.test(name)) throw wrong('is no name of a property of systemd’s');
    let variant: Variant;
    try {
      variant = parseVariant(text);
    } catch (error) {
      throw wrong(`is no GVariant text (such as uint64 5, true, 'a', ['a', 'b']): ${(error as Error).message}`);
    }
    if (!/[^U]Sec$/.test(name)) return [property(name, variant.signature, variant.value)];
    const { value } = variant;
    if (typeof value !== 'number' && typeof value !== 'bigint') throw wrong('is a time, and has to be a number');
    const us = typeof value === 'bigint' ? value * BigInt(SECOND_US) : BigInt(Math.round(value * SECOND_US));
    return [property(name.replace(/Sec$/, 'USec'), 't', us)];
  });
}

/** The words in front of a number, by the letter of its type. */
const TYPE_WORDS: Readonly<Record<string, string>> = {
  boolean: 'b',
  byte: 'y',
  int16: 'n',
  uint16: 'q',
  int32: 'i',
  uint32: 'u',
  int64: 'x',
  uint64: 't',
  double: 'd',
  string: 's',
  objectpath: 'o',
  signature: 'g',
};
const TOKEN = /\s*(?:(@[a-z()]+)|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|([[\](),])|([^\s[\](),'"@]+))/y;

/** @throws Error saying what is wrong with the text. */
export function parseVariant(text: string): Variant {
  const tokens = tokensOf(text);
  const variant = parseValue(tokens, undefined);
  if (tokens.length > 0) throw new Error(`${tokens[0]!} comes after its end`);
  return variant;
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  const token = new RegExp(TOKEN);
  const { length } = text.trimEnd();
  while (token.lastIndex < length) {
    const at = token.lastIndex;
    const kinds: readonly (string | undefined)[] = token.exec(text)?.slice(1) ?? [];
    const found = kinds.find((one) => one !== undefined);
    if (found === undefined) throw new Error(`nothing is known that begins with ${JSON.stringify(text.slice(at))}`);
    tokens.push(found);
  }
  return tokens;
}

/** @param type what it has to be, by a type in front; undefined: what it looks like */
function parseValue(tokens: string[], type: string | undefined): Variant {
  const token = tokens.shift();
  if (token === undefined) throw new Error('it ends too early');
  if (token.startsWith('@')) return parseValue(tokens, token.slice(1));
  const named = Object.hasOwn(TYPE_WORDS, token) ? TYPE_WORDS[token] : undefined;
  if (named !== undefined) return parseValue(tokens, named);
  if (token === '[') return parseArray(tokens, type);
  if (/^['"]/.test(token))
    return { signature: textType(type, token), value: token.slice(1, -1).replace(/\\(.)/g, '$1') };
  if (token === 'true' || token === 'false') {
    if (type !== undefined && type !== 'b') throw new Error(`${token} is no ${type}`);
    return { signature: 'b', value: token === 'true' };
  }
  return parseNumber(token, type);
}

function textType(type: string | undefined, token: string): string {
  if (type !== undefined && !['s', 'o', 'g'].includes(type)) throw new Error(`${token} is no ${type}`);
  return type ?? 's';
}

function parseArray(tokens: string[], type: string | undefined): Variant {
  if (type !== undefined && !type.startsWith('a')) throw new Error(`an array is no ${type}`);
  let element = type?.slice(1);
  const values: Value[] = [];
  for (let first = true; tokens[0] !== ']'; first = false) {
    if (!first && tokens.shift() !== ',') throw new Error('a comma or the end of the array is missing');
    const { signature, value } = parseValue(tokens, element);
    element ??= signature;
    if (signature !== element) throw new Error(`an array of ${element} has a ${signature} in it`);
    values.push(value);
  }
  tokens.shift();
  if (element === undefined) throw new Error('an empty array needs its type in front, such as @as');
  return { signature: `a${element}`, value: values };
}

function parseNumber(token: string, type: string | undefined): Variant {
  const signature = type ?? (/^[+-]?(0x[\da-f]+|\d+)$/i.test(token) ? 'i' : 'd');
  if (signature === 'd') {
    const value = Number(token);
    if (Number.isNaN(value)) throw new Error(`${token} is no number`);
    return { signature, value };
  }
  const range = RANGES[signature];
  if (range === undefined) throw new Error(`${token} is no ${signature}`);
  let value: bigint;
  try {
    const [, sign, digits = ''] = /^([+-]?)(.+)$/.exec(token) ?? [];
    value = sign === '-' ? -BigInt(digits) : BigInt(digits);
  } catch {
    throw new Error(`${token} is no whole number`);
  }
  if (value < range[0] || value > range[1]) throw new Error(`${token} does not fit its type`);
  return { signature, value: signature === 'x' || signature === 't' ? value : Number(value) };
}

const RANGES: Readonly<Record<string, readonly [bigint, bigint]>> = {
  y: [0n, 2n ** 8n - 1n],
  n: [-(2n ** 15n), 2n ** 15n - 1n],
  q: [0n, 2n ** 16n - 1n],
  i: [-(2n ** 31n), 2n ** 31n - 1n],
  u: [0n, 2n ** 32n - 1n],
  x: [-(2n ** 63n), 2n ** 63n - 1n],
  t: [0n, 2n ** 64n - 1n],
};
