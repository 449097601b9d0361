/** Every message, with every field set, against protobufjs as it reads the same definitions; and our tables against them. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { type Contract, contracts } from '../build/proto/contracts';
import { codec, type Codec } from './codec';
import { taskEvents, taskMethods } from './index';

const contractsDir = join(__dirname, 'contracts');
const root = new protobuf.Root();
root.resolvePath = (_origin, target) =>
  target.startsWith('google/protobuf/') ? target : join(contractsDir, target.slice(target.lastIndexOf('/') + 1));
root.loadSync(readdirSync(contractsDir).filter((name) => name.endsWith('.proto'))).resolveAll();

function definedTypes(namespace: protobuf.NamespaceBase): protobuf.Type[] {
  return namespace.nestedArray.flatMap((object) => [
    ...(object instanceof protobuf.Type ? [object] : []),
    ...(object instanceof protobuf.Namespace ? definedTypes(object) : []),
  ]);
}
const defined = definedTypes(root).map((type) => ({ type, name: type.fullName.slice(1) }));

const codecs = new Map<string, Codec<object>>();
for (const contract of Object.values<Contract<object>>(contracts)) {
  codecs.set(contract.typeName, codec(contract));
}

/** A value for a scalar: wide ones near the ends of their ranges, so that a lost bit shows. */
function sample(type: string, seed: number): unknown {
  const samples: Record<string, unknown> = {
    string: `text ${seed} é 🦭`,
    bytes: new Uint8Array([0, seed, 255]),
    bool: true,
    uint32: 2 ** 32 - seed,
    int32: -seed,
    uint64: 2n ** 64n - BigInt(seed),
    int64: -(2n ** 62n) - BigInt(seed),
    double: seed / 3,
  };
  return type in samples ? samples[type] : -seed;
}

/** A message with every field set; `nameOf` and `longOf` say in whose form. */
function filled(
  type: protobuf.Type,
  nameOf: (field: protobuf.Field) => string,
  longOf: (value: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(
    type.fieldsArray.map((field) => {
      const one = () =>
        field.resolvedType instanceof protobuf.Type
          ? filled(field.resolvedType, nameOf, longOf)
          : longOf(sample(field.type, field.id));
      const value = field.map ? { b: 'x', a: '' } : field.repeated ? [one(), one()] : one();
      return [nameOf(field), value];
    }),
  );
}

/** As our codec takes it. */
const ours = (type: protobuf.Type) =>
  filled(
    type,
    (field) => protobuf.util.jsonName(field.name),
    (value) => value,
  );
/** As protobufjs takes it: long integers as text, and names of Any's fields as they are defined. */
const theirs = (type: protobuf.Type) =>
  filled(
    type,
    (field) => field.name,
    (value) => (typeof value === 'bigint' ? value.toString() : value),
  );

test('there is a table for every message that is defined', () => {
  expect([...codecs.keys()].sort()).toEqual(defined.map(({ name }) => name).sort());
});

describe.each(defined)('$name', ({ type, name }) => {
  test('with every field set: the bytes of protobufjs, and back', () => {
    const message = ours(type);
    const expected = type.encode(type.fromObject(theirs(type))).finish();
    const messageCodec = codecs.get(name)!;
    const encoded = messageCodec.encode(message);
    expect(Buffer.from(encoded).toString('hex')).toBe(Buffer.from(expected).toString('hex'));
    expect(messageCodec.decode(encoded)).toStrictEqual(message);
  });

  test('empty: no bytes', () => {
    const messageCodec = codecs.get(name)!;
    expect(messageCodec.encode(messageCodec.decode(new Uint8Array()))).toHaveLength(0);
  });
});

test('every event that is defined has one topic', () => {
  const events = defined.map(({ name }) => name).filter((name) => /^containerd\.events\.Task(?!IO$)/.test(name));
  expect(
    Object.values(taskEvents)
      .map(({ typeName }) => typeName)
      .sort(),
  ).toEqual(events.sort());
});

test('the table of the Task service is the service that is defined', () => {
  const service = root.lookupService('containerd.task.v2.Task');
  const expected = service.methodsArray.map((method) => [
    method.name,
    method.resolvedRequestType!.fullName.slice(1),
    method.resolvedResponseType!.fullName.slice(1),
  ]);
  expect(
    Object.entries(taskMethods).map(([name, { request, response }]) => [name, request.typeName, response.typeName]),
  ).toEqual(expected);
});
