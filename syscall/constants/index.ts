/**
 * The kernel's numbers by name. The tables are generated from the kernel's headers by generate.mjs; this is their door.
 */
import {
  archConstants,
  commonConstants,
  errnos,
  syscallNames,
  syscallNumberLists,
} from '../../build/constants/constants';

/** The architectures that silt runs on. */
export type Arch = 'x86_64' | 'aarch64';
/** Those, and the ones whose programs a kernel of theirs can run as well. */
export type SyscallAbi = keyof typeof syscallNumberLists;

export type ConstantName = keyof typeof commonConstants | keyof (typeof archConstants)[Arch];
export type Constants = Readonly<Record<ConstantName, number>>;

/** @throws RangeError on any other machine. */
function archOfNode(name: string): Arch {
  if (name === 'x64') return 'x86_64';
  if (name === 'arm64') return 'aarch64';
  throw new RangeError(`silt runs on x86_64 and aarch64, not on ${name}`);
}

/** The architecture of this machine. */
export const hostArch = archOfNode(process.arch);

/** Flags and other numbers of an architecture, by the name that the headers have. */
export function constantsOf(arch: Arch): Constants {
  return { ...commonConstants, ...archConstants[arch] };
}

/** Flags and other numbers of this machine. */
export const C = constantsOf(hostArch);

/** The bit in the numbers of x32's system calls that tells them from those of x86_64 (asm/unistd.h). */
export const X32_SYSCALL_BIT = 0x40000000;

const tables = new Map<SyscallAbi, Readonly<Record<string, number>>>();

/**
 * System call numbers by name. The record has no prototype, so any string may be looked up in it. It is empty for i386,
 * x32 and arm when the build machine did not have their headers.
 */
export function syscallNumbers(abi: SyscallAbi): Readonly<Record<string, number>> {
  let table = tables.get(abi);
  if (!table) {
    table = readTable(abi);
    tables.set(abi, table);
  }
  return table;
}

function readTable(abi: SyscallAbi): Record<string, number> {
  const base = abi === 'x32' ? X32_SYSCALL_BIT : 0;
  const numbers = syscallNumberLists[abi].split(',');
  const table = Object.create(null) as Record<string, number>;
  syscallNames.split(',').forEach((name, i) => {
    const number = numbers[i]!;
    if (number !== '') table[name] = Number(number) + base;
  });
  return table;
}

const errnoNumbers = new Map(errnos);
// Aliases come last in the table and must not win.
const errnoNames = new Map([...errnos].reverse().map(([name, number]) => [number, name]));

/** The name of an errno such as `ENOENT`, for 2 and for -2; `errno 4000` for one without a name. */
export function errnoName(errno: number): string {
  const number = Math.abs(errno);
  return errnoNames.get(number) ?? `errno ${number}`;
}

/** @throws RangeError for a name that the kernel does not have. */
export function errnoNumber(name: string): number {
  const number = errnoNumbers.get(name);
  if (number === undefined) throw new RangeError(`there is no errno ${name}`);
  return number;
}

const SIGNAL_ALIASES = ['SIGIOT', 'SIGPOLL', 'SIGUNUSED', 'SIGCLD'];
const signalNumbers = new Map(Object.entries(commonConstants).filter(([name]) => name.startsWith('SIG')));
const signalNames = new Map(
  [...signalNumbers].filter(([name]) => !SIGNAL_ALIASES.includes(name)).map(([name, number]) => [number, name]),
);
/** The real-time signals as libc numbers them; it keeps the kernel's first two (32 and 33) to itself. */
const RTMIN = 34;
const RTMAX = 64;

/**
 * A signal's number from what people and engines write: `SIGTERM`, `term`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
 * Undefined when there is no such signal; 0, which only asks whether the process is there, is none.
 */
export function signalNumber(text: string): number | undefined {
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    return number >= 1 && number <= RTMAX ? number : undefined;
  }
  const name = text.toUpperCase().replace(/^(SIG)?/, 'SIG');
  const realTime = /^SIGRTM(IN|AX)(?:([+-])(\d+))?$/.exec(name);
  if (!realTime) return signalNumbers.get(name);
  const offset = Number(realTime[3] ?? 0) * (realTime[2] === '-' ? -1 : 1);
  const number = (realTime[1] === 'IN' ? RTMIN : RTMAX) + offset;
  return number >= RTMIN && number <= RTMAX ? number : undefined;
}

/** `SIGTERM` for 15, `SIGRTMIN+3` for 37, `signal 200` for one that does not exist. */
export function signalName(number: number): string {
  const name = signalNames.get(number);
  if (name !== undefined) return name;
  if (number === RTMIN) return 'SIGRTMIN';
  return number > RTMIN && number <= RTMAX ? `SIGRTMIN+${number - RTMIN}` : `signal ${number}`;
}
