/**
 * Writes build/constants/constants.ts: system call numbers, errnos, signals and flags of x86_64 and aarch64, taken from
 * the kernel headers of this machine.
 *
 * aarch64 needs no headers of its own for its numbers: asm-generic/unistd.h is what it uses. Without x86_64's headers
 * (on an aarch64 machine) the columns of x86_64, i386 and x32 stay empty; without armhf's the one of arm does.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as families from './families.mjs';
import { evaluate, macroNames, syscalls } from './headers.mjs';
import { archConstants, newerConstants, newerSyscalls } from './newer.mjs';

const native = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];
if (!native) throw new Error(`silt runs on x86_64 and aarch64, not on ${process.arch}`);

const triples = { x86_64: 'x86_64-linux-gnu', aarch64: 'aarch64-linux-gnu', arm: 'arm-linux-gnueabihf' };

/**
 * Compiler flags that select the kernel headers of `arch`; undefined when they are not installed. Since Debian 13
 * linux-libc-dev has those of all architectures; before, each has a package linux-libc-dev-…-cross.
 */
function headerFlags(arch) {
  if (arch === native) return [];
  const layouts = [[`/usr/${triples[arch]}/include`], [`/usr/include/${triples[arch]}`, '/usr/include']];
  const found = layouts.find(([directory]) => existsSync(join(directory, 'asm/unistd.h')));
  return found && ['-nostdinc', ...found.flatMap((directory) => ['-isystem', directory])];
}

function syscallTables() {
  const x86 = headerFlags('x86_64');
  const arm = headerFlags('arm');
  // As arch/arm64/include/uapi/asm/unistd.h has it.
  const wants = ['RENAMEAT', 'NEW_STAT', 'SET_GET_RLIMIT', 'TIME32_SYSCALLS', 'SYS_CLONE3', 'MEMFD_SECRET'];
  const armFlags = arm && [...arm, '-D__ARM_EABI__'];
  // The table holds x32's numbers without the bit that marks them (__X32_SYSCALL_BIT).
  return {
    x86_64: x86 ? syscalls('asm/unistd_64.h', x86) : {},
    aarch64: syscalls('asm-generic/unistd.h', [
      '-D__BITS_PER_LONG=64',
      ...wants.map((name) => `-D__ARCH_WANT_${name}`),
    ]),
    i386: x86 ? syscalls('asm/unistd_32.h', x86) : {},
    x32: x86 ? syscalls('asm/unistd_x32.h', [...x86, '-D__X32_SYSCALL_BIT=0']) : {},
    arm: arm ? { ...syscalls('asm/unistd.h', armFlags), ...syscalls('asm/unistd.h', armFlags, '__ARM_NR_') } : {},
  };
}

/** Adds to `table` what its headers are too old to know. */
function addNewerSyscalls(arch, table) {
  if (Object.keys(table).length === 0) return;
  for (const { name, nr, only } of newerSyscalls) {
    if (only && !only.includes(arch)) continue;
    if ((table[name] ?? nr) !== nr) throw new Error(`newer.mjs: ${name} is ${table[name]} on ${arch}, not ${nr}`);
    table[name] = nr;
  }
}

function matching(headers, flags, patterns, enumerators) {
  const names = macroNames(headers, flags).filter((name) => patterns.some((pattern) => pattern.test(name)));
  return evaluate([...new Set([...names, ...enumerators])], headers, flags);
}

function kernelConstants(arch) {
  const flags = headerFlags(arch);
  return flags && matching(families.kernelHeaders, flags, families.kernelMacros, families.kernelEnumerators);
}

/** Numbers that JavaScript holds exactly; a flag in bit 31 of an int counts as positive. */
function toNumbers(values) {
  const numbers = {};
  for (const [name, value] of Object.entries(values)) {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) continue;
    numbers[name] = number === -0x80000000 ? 0x80000000 : number;
  }
  return numbers;
}

function constants() {
  const libc = matching(families.libcHeaders, ['-D_GNU_SOURCE'], families.libcMacros, families.libcEnumerators);
  const common = toNumbers({ ...libc, ...kernelConstants(native) });
  for (const { name, value } of newerConstants) {
    if ((common[name] ?? value) !== value)
      throw new Error(`newer.mjs: ${name} is ${common[name]} in the headers, not ${value}`);
    common[name] = value;
  }
  const perArch = {};
  for (const [arch, table] of Object.entries(archConstants)) {
    perArch[arch] = table;
    const known = kernelConstants(arch);
    if (!known) continue;
    const numbers = toNumbers(known);
    for (const [name, value] of Object.entries(numbers)) {
      if (value !== (table[name] ?? common[name] ?? value)) {
        throw new Error(`newer.mjs: ${name} is ${value} on ${arch}, not ${table[name] ?? common[name]}`);
      }
    }
  }
  const shared = Object.entries(common).filter(([name]) => !Object.hasOwn(archConstants.x86_64, name));
  return { common: Object.fromEntries(shared), perArch };
}

function errnos() {
  const names = macroNames(['linux/errno.h']).filter((name) => /^E[A-Z0-9]+$/.test(name));
  const values = toNumbers(evaluate(names, ['linux/errno.h']));
  // An alias must not become the number's name.
  const aliases = ['EWOULDBLOCK', 'EDEADLOCK'];
  return Object.entries(values).sort((a, b) => aliases.indexOf(a[0]) - aliases.indexOf(b[0]) || a[1] - b[1]);
}

/** All names in one string, and for each ABI its numbers in the same order: this is read at every start. */
function syscallLists() {
  const tables = syscallTables();
  for (const [arch, table] of Object.entries(tables)) addNewerSyscalls(arch, table);
  const names = [...new Set(Object.values(tables).flatMap((table) => Object.keys(table)))].sort();
  const numbers = Object.entries(tables).map(([abi, table]) => [abi, names.map((name) => table[name] ?? '').join(',')]);
  return { names: names.join(','), numbers };
}

const { names, numbers } = syscallLists();
const { common, perArch } = constants();
const entries = (table) => Object.entries(table).sort(([a], [b]) => (a < b ? -1 : 1));
const object = (table) =>
  `{\n${entries(table)
    .map(([name, value]) => `  ${name}: ${value},\n`)
    .join('')}}`;

const text = `// Generated by syscall/constants/generate.mjs from the kernel's headers.

/** Names of all system calls, and their numbers in the same order; nothing between two commas where an ABI has none. */
export const syscallNames =
  '${names}';
export const syscallNumberLists = {
${numbers.map(([abi, list]) => `  ${abi}: '${list}',\n`).join('')}};

/** Name and number, an alias after the number's usual name. */
export const errnos: readonly (readonly [string, number])[] = [
${errnos()
  .map(([name, value]) => `  ['${name}', ${value}],\n`)
  .join('')}];

/** Constants whose value does not depend on the architecture. */
export const commonConstants = ${object(common)};

/** Constants whose value does. */
export const archConstants = {
${entries(perArch)
  .map(([arch, table]) => `  ${arch}: ${object(table).replaceAll('\n', '\n  ')},\n`)
  .join('')}};
`;
const directory = join(import.meta.dirname, '../../build/constants');
mkdirSync(directory, { recursive: true });
writeFileSync(join(directory, 'constants.ts'), text);
