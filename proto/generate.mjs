/**
 * Makes build/proto/contracts.js and contracts.d.ts from proto/contracts/*.proto: `node proto/generate.mjs`.
 *
 * protobufjs reads and checks the definitions. What comes out are tables (which field has which number, name and kind)
 * for proto/codec.ts, and TypeScript types. `pbjs -t static-module` would write two functions per message instead, and a
 * shim's start waits for them. Time to load these messages, bundled and minified, in milliseconds (Node 24.21, virtual machine
 * with 2 cores, least and median of 41 runs, an empty file taking 0.2):
 *
 *     tables and codec.ts                                              1.9   2.1
 *     pbjs, only encode and decode, without the package `long`         7.5   8.0
 *     of which protobufjs/minimal                                      3.2   3.4
 *     tables and codec.ts, first request, event and answer included    3.1   3.5
 *     pbjs, the same                                                  11.4  12.0
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import protobuf from 'protobufjs';

const contractsDir = join(import.meta.dirname, 'contracts');
const outputDir = join(import.meta.dirname, '..', 'build', 'proto');

/** Exported names are the message's own, behind its package's word where packages share names. */
const packageWords = {
  'containerd.runc.v1': 'Runc',
  'containerd.linux.runc': 'LinuxRunc',
  'runtimeoptions.v1': 'Runtime',
  'runtime.v1': 'Cri',
  'io.containerd.cgroups.v1': 'CgroupV1',
  'io.containerd.cgroups.v2': 'CgroupV2',
};
/** Types whose own name says too little outside of their package. */
const renamed = {
  'containerd.v1.types.Status': 'TaskStatus',
  'containerd.runtime.bootstrap.v1.Extension': 'BootstrapExtension',
};

const scalarTypes = {
  string: 'string',
  bytes: 'Uint8Array',
  bool: 'boolean',
  uint32: 'number',
  int32: 'number',
  uint64: 'bigint',
  int64: 'bigint',
  double: 'number',
};

function loadContracts() {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) =>
    target.startsWith('google/protobuf/') ? target : join(contractsDir, basename(target));
  const files = readdirSync(contractsDir).filter((name) => name.endsWith('.proto'));
  root.loadSync(files.sort());
  return root.resolveAll();
}

/** Every message and enum, depth first, as protobufjs' reflection objects. */
function* typesOf(namespace) {
  for (const object of namespace.nestedArray) {
    if (object instanceof protobuf.Type || object instanceof protobuf.Enum) yield object;
    if (object instanceof protobuf.Namespace) yield* typesOf(object);
  }
}

const fullName = (type) => type.fullName.slice(1);

function exportedName(type) {
  const name = fullName(type);
  return renamed[name] ?? (packageWords[name.slice(0, name.lastIndexOf('.'))] ?? '') + type.name;
}

/** One field as codec.ts wants it (kinds: codec.ts); refuses what codec.ts does not know. */
function describeField(field) {
  const message = field.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
  const isEnum = field.resolvedType instanceof protobuf.Enum;
  const refuse = (why) => {
    throw new Error(`${fullName(field.parent)}.${field.name}: ${why}; teach proto/codec.ts first`);
  };
  if (field.map && (field.keyType !== 'string' || field.type !== 'string')) refuse('only map<string, string> is known');
  if (field.partOf && !field.partOf.isProto3Optional) refuse('oneof is not known');
  const kind = field.map ? 'map' : message ? 'message' : isEnum ? 'int32' : field.type;
  if (kind !== 'map' && kind !== 'message' && !(kind in scalarTypes)) refuse(`type ${field.type} is not known`);
  const label = field.map || field.repeated ? 'many' : message || field.partOf ? 'optional' : 'one';
  return { number: field.id, name: protobuf.util.jsonName(field.name), kind, label, message };
}

/** All fields of a message in one string, since text loads faster than code: `name=number kind label`, see codec.ts. */
function tableOf(type) {
  const labels = { one: '', optional: '?', many: '*' };
  const fields = type.fieldsArray
    .map(describeField)
    .sort((a, b) => a.number - b.number)
    .map(({ number, name, kind, label, message }) => {
      const how = message ? exportedName(message) : kind;
      return `${name}=${number}:${how}${labels[label]}`;
    });
  return `  ${exportedName(type)}: { typeName: '${fullName(type)}', fields: '${fields.join(' ')}' },`;
}

function interfaceOf(type) {
  const members = type.fieldsArray.map((protoField) => {
    const { name, kind, label, message } = describeField(protoField);
    const single = message ? exportedName(message) : scalarTypes[kind];
    const value = kind === 'map' ? 'Record<string, string>' : label === 'many' ? `${single}[]` : single;
    return `  ${name}${label === 'optional' ? '?' : ''}: ${value};`;
  });
  const body = members.length === 0 ? 'Record<string, never>' : `{\n${members.join('\n')}\n}`;
  return `/** ${fullName(type)} */\nexport type ${exportedName(type)} = ${body};`;
}

const preamble = '// Made by proto/generate.mjs from proto/contracts. Do not edit.';
const contractType = `
/** A message type: its name in type URLs, and its fields as codec.ts reads them. */
export interface Contract<T extends object> {
  readonly typeName: string;
  readonly fields: string;
  /** Never set: carries the type. */
  readonly message?: T;
}
`;

const types = [...typesOf(loadContracts())];
const names = types.map(exportedName);
const twice = names.filter((name, index) => names.indexOf(name) !== index);
if (twice.length > 0) throw new Error(`names used twice: ${twice.join(', ')}; add a word in packageWords or renamed`);

const messages = types.filter((type) => type instanceof protobuf.Type);
const enums = types.filter((type) => type instanceof protobuf.Enum);

const code = [
  preamble,
  "'use strict';",
  'exports.contracts = {',
  ...messages.map(tableOf),
  '};',
  ...enums.map((type) => `exports.${exportedName(type)} = ${JSON.stringify(type.values)};`),
];
const declarations = [
  preamble,
  contractType,
  ...messages.map(interfaceOf),
  'export declare const contracts: {',
  ...messages.map((type) => `  readonly ${exportedName(type)}: Contract<${exportedName(type)}>;`),
  '};',
  ...enums.flatMap((type) => [
    `/** ${fullName(type)}: open, other numbers can come */`,
    `export declare const ${exportedName(type)}: Readonly<${JSON.stringify(type.values).replaceAll(',', '; ')}>;`,
  ]),
];
mkdirSync(outputDir, { recursive: true });
writeFileSync(join(outputDir, 'contracts.js'), code.join('\n') + '\n');
writeFileSync(join(outputDir, 'contracts.d.ts'), declarations.join('\n') + '\n');
