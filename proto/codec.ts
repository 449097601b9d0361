/**
 * Messages as plain objects, by the tables that generate.mjs makes.
 *
 * Decoding gives every field a value: the default ('' 0 0n false [] {} or no bytes) where none came. Only messages, and fields
 * marked `optional` in the definition, are left out when absent. 64-bit fields are bigint, all others number; byte
 * fields are copies. A field that the table does not know, or that comes with another wire type, is dropped.
 *
 * Encoding takes less: a field left out or undefined is absent, and 64-bit fields may be numbers if they are exact. Fields are
 * written in the order of their numbers and defaults are left out, so the bytes equal those of Go and of protoc (entries of
 * maps stay in the order of the object).
 */
import { type Contract, contracts } from '../build/proto/contracts';
import { SiltError } from '../errors';
import { WireReader, WireType, WireWriter } from './wire';

/** What encode takes for a message that decode gives as `T`. */
export type Draft<T> = T extends bigint
  ? bigint | number
  : T extends string | number | boolean | Uint8Array
    ? T
    : T extends readonly (infer Item)[]
      ? readonly Draft<Item>[]
      : { readonly [Key in keyof T]?: Draft<T[Key]> | undefined };

export interface Codec<T> {
  /** The message's full name; containerd's type URLs are this and nothing else. */
  readonly typeName: string;
  /** Raises INTERNAL for a value that its field cannot hold. */
  encode(message: Draft<T>): Uint8Array;
  /** Raises REQUEST_INVALID for bytes that are not such a message. Keeps nothing of `bytes`. */
  decode(bytes: Uint8Array): T;
}

type Kind = 'string' | 'bytes' | 'bool' | 'uint32' | 'int32' | 'uint64' | 'int64' | 'double' | 'message' | 'map';

interface Field {
  readonly number: number;
  readonly name: string;
  readonly kind: Kind;
  /** one: absent means the default; optional: absence is kept apart; many: a list or a map. */
  readonly label: 'one' | 'optional' | 'many';
  /** Of kind message. */
  readonly contract: Contract<object> | undefined;
}

type Values = Record<string, unknown>;
type FieldsByNumber = ReadonlyMap<number, Field>;

/** Makes the codec of a message type. Its table is only built when the codec is used. */
export function codec<T extends object>(contract: Contract<T>): Codec<T> {
  return {
    typeName: contract.typeName,
    encode(message) {
      const writer = new WireWriter();
      writeMessage(writer, contract, message as Values);
      return writer.finish();
    },
    decode(bytes) {
      try {
        const message = emptyMessage(contract);
        readMessage(new WireReader(bytes), contract, message);
        return message as T;
      } catch (error) {
        if (!(error instanceof SiltError)) throw error;
        throw new SiltError(error.code, `cannot decode ${contract.typeName}: ${error.message}`, {}, { cause: error });
      }
    },
  };
}

const tables = new WeakMap<Contract<object>, FieldsByNumber>();

function tableOf(contract: Contract<object>): FieldsByNumber {
  let table = tables.get(contract);
  if (table === undefined) {
    table = parseFields(contract.fields);
    tables.set(contract, table);
  }
  return table;
}

/** `name=number:kind`, or the name of a message in place of the kind, then `?` for optional, `*` for many; spaces between. */
function parseFields(text: string): FieldsByNumber {
  const table = new Map<number, Field>();
  for (const [, name, number, how, mark] of text.matchAll(/(\w+)=(\d+):(\w+)([?*]?)/g)) {
    const contract = Object.hasOwn(contracts, how!) ? contracts[how as keyof typeof contracts] : undefined;
    table.set(Number(number), {
      number: Number(number),
      name: name!,
      kind: contract ? 'message' : (how as Kind),
      label: mark === '*' ? 'many' : mark === '?' ? 'optional' : 'one',
      contract,
    });
  }
  return table;
}

function wireTypeOf(kind: Kind): number {
  if (kind === 'double') return WireType.Fixed64;
  return kind === 'string' || kind === 'bytes' || kind === 'message' || kind === 'map'
    ? WireType.Bytes
    : WireType.Varint;
}

/** Kinds whose lists come as one run of values behind a length. */
const isPackable = (kind: Kind): boolean => wireTypeOf(kind) !== WireType.Bytes;

function defaultOf(kind: Kind): unknown {
  switch (kind) {
    case 'string':
      return '';
    case 'bytes':
      return new Uint8Array();
    case 'bool':
      return false;
    case 'uint64':
    case 'int64':
      return 0n;
    default:
      return 0;
  }
}

function emptyMessage(contract: Contract<object>): Values {
  const message: Values = {};
  for (const { name, kind, label } of tableOf(contract).values()) {
    if (kind === 'map') message[name] = {};
    else if (label === 'many') message[name] = [];
    else if (label === 'one') message[name] = defaultOf(kind);
  }
  return message;
}

/** Reads fields into `message` until the reader is done; what comes twice is merged or replaced, as protobuf says. */
function readMessage(reader: WireReader, contract: Contract<object>, message: Values): void {
  const table = tableOf(contract);
  while (!reader.done) {
    const { number, wireType } = reader.tag();
    const field = table.get(number);
    if (field === undefined) {
      reader.skip(wireType);
      continue;
    }
    const { name, kind, label } = field;
    if (wireType === wireTypeOf(kind)) {
      if (kind === 'map') readMapEntry(reader, message[name] as Record<string, string>);
      else if (label === 'many') (message[name] as unknown[]).push(readValue(reader, field));
      else message[name] = readValue(reader, field, message[name]);
    } else if (label === 'many' && wireType === WireType.Bytes && isPackable(kind)) {
      const list = message[name] as unknown[];
      reader.within(() => {
        while (!reader.done) list.push(readValue(reader, field));
      });
    } else {
      reader.skip(wireType);
    }
  }
}

function readValue(reader: WireReader, { kind, contract }: Field, previous?: unknown): unknown {
  if (kind !== 'message') return reader[kind as Exclude<typeof kind, 'map'>]();
  const message = (previous as Values | undefined) ?? emptyMessage(contract!);
  reader.within(() => readMessage(reader, contract!, message));
  return message;
}

function readMapEntry(reader: WireReader, map: Record<string, string>): void {
  let key = '';
  let value = '';
  reader.within(() => {
    while (!reader.done) {
      const { number, wireType } = reader.tag();
      if (number === 1 && wireType === WireType.Bytes) key = reader.string();
      else if (number === 2 && wireType === WireType.Bytes) value = reader.string();
      else reader.skip(wireType);
    }
  });
  // Not an assignment: `__proto__` is a key like any other.
  Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
}

function writeMessage(writer: WireWriter, contract: Contract<object>, message: Values): void {
  for (const field of tableOf(contract).values()) {
    const { number, name, kind, label } = field;
    const value = message[name];
    if (value === undefined || value === null) continue;
    const path = `${contract.typeName}.${name}`;
    if (kind === 'map') {
      writeMap(writer, number, path, value as Values);
    } else if (label !== 'many') {
      const checked = checkValue(path, kind, value);
      if (label === 'one' && isDefault(checked)) continue;
      writer.tag(number, wireTypeOf(kind));
      writeValue(writer, field, checked);
    } else if (isPackable(kind)) {
      const list = (value as unknown[]).map((item) => checkValue(path, kind, item));
      if (list.length === 0) continue;
      writer.tag(number, WireType.Bytes);
      writer.within(() => {
        for (const item of list) writeValue(writer, field, item);
      });
    } else {
      for (const item of value as unknown[]) {
        writer.tag(number, WireType.Bytes);
        writeValue(writer, field, checkValue(path, kind, item));
      }
    }
  }
}

function writeValue(writer: WireWriter, { kind, contract }: Field, value: unknown): void {
  switch (kind) {
    case 'message':
      writer.within(() => writeMessage(writer, contract!, value as Values));
      break;
    case 'string':
      writer.string(value as string);
      break;
    case 'bytes':
      writer.bytes(value as Uint8Array);
      break;
    case 'bool':
      writer.uint32(value === true ? 1 : 0);
      break;
    case 'uint64':
    case 'int64':
      writer.uint64(value as bigint);
      break;
    default:
      writer[kind as 'uint32' | 'int32' | 'double'](value as number);
  }
}

/** Entries always have both fields, as Go and protoc write them. */
function writeMap(writer: WireWriter, number: number, path: string, map: Values): void {
  for (const [key, value] of Object.entries(map)) {
    if (value === undefined) continue;
    const text = checkValue(path, 'string', value) as string;
    writer.tag(number, WireType.Bytes);
    writer.within(() => {
      writer.tag(1, WireType.Bytes);
      writer.string(checkValue(path, 'string', key) as string);
      writer.tag(2, WireType.Bytes);
      writer.string(text);
    });
  }
}

/** -0 is not the default: its bits are not zero. */
function isDefault(value: unknown): boolean {
  return (
    value === '' ||
    value === false ||
    value === 0n ||
    Object.is(value, 0) ||
    (value instanceof Uint8Array && value.length === 0)
  );
}

const integerRanges = {
  uint32: [0, 2 ** 32 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
} as const;

/** Returns the value that is to be written (a bigint for 64-bit fields) or raises INTERNAL. */
function checkValue(path: string, kind: Kind, value: unknown): unknown {
  const refuse = (): never => {
    throw new SiltError('INTERNAL', `cannot encode ${path}: ${String(value)} (${typeof value}) is no ${kind}`);
  };
  switch (kind) {
    case 'string':
      return typeof value === 'string' && value.isWellFormed() ? value : refuse();
    case 'bytes':
      return value instanceof Uint8Array ? value : refuse();
    case 'bool':
      return typeof value === 'boolean' ? value : refuse();
    case 'double':
      return typeof value === 'number' ? value : refuse();
    case 'uint32':
    case 'int32': {
      const [least, most] = integerRanges[kind];
      return Number.isInteger(value) && (value as number) >= least && (value as number) <= most ? value : refuse();
    }
    case 'uint64':
    case 'int64': {
      const exact = typeof value === 'bigint' || Number.isSafeInteger(value) ? BigInt(value as number) : refuse();
      const fits = kind === 'uint64' ? BigInt.asUintN(64, exact) : BigInt.asIntN(64, exact);
      return fits === exact ? exact : refuse();
    }
    default:
      return typeof value === 'object' ? value : refuse();
  }
}
