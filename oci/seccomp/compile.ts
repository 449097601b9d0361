import { type Arch, C, errnoNumber, hostArch } from '../../syscall';
import { refuse } from '../checks/shape';
import type { Seccomp } from '../spec-linux';
import { type Abi, abisOf, X32_BIT } from './abis';
import { Assembler, encodeProgram, type Instruction, Label } from './bpf';
import { ARCH_OFFSET, emitCondition, NR_OFFSET } from './conditions';
import { multiplexedRules } from './multiplexed';
import { type ConditionalRule, isAtMost, returnValue, rulesByName, type SyscallRules } from './rules';

/** What seccomp(2) takes. */
export interface SeccompFilter {
  /** An array of `struct sock_filter`. */
  readonly bpf: Uint8Array;
  /** SECCOMP_FILTER_FLAG_*. */
  readonly flags: number;
}

/** A filter for all system calls of one ABI. */
interface Section {
  readonly abi: Abi;
  readonly rules: ReadonlyMap<number, SyscallRules>;
  readonly byDefault: number;
  /** Numbers above this one get ENOSYS. */
  readonly newest: number | undefined;
}

/**
 * Compiles a seccomp profile of the OCI spec for `arch`.
 *
 * System calls that the profile does not name and that are newer than the newest one it does get ENOSYS and not the default
 * action, unless that lets them pass: programs try new system calls and fall back on ENOSYS, but not on EPERM (as runc).
 * Names that no table has are ignored, as profiles name system calls of many kernels and machines.
 * @throws SiltError SPEC_INVALID when the program has more instructions than the kernel takes.
 */
export function compileSeccomp(seccomp: Seccomp, arch: Arch = hostArch): SeccompFilter {
  const program = assembleFilter(seccomp, arch);
  if (program.length > C.BPF_MAXINSNS) {
    throw refuse(
      '$.linux.seccomp',
      `makes a filter of ${program.length} instructions, and the kernel takes ${C.BPF_MAXINSNS}`,
    );
  }
  return { bpf: encodeProgram(program), flags: filterFlags(seccomp) };
}

/**
 * A filter of these system calls and no others: any other one, or one of another ABI, kills the process. For programs whose calls
 * are known.
 * @throws RangeError for a name that the machine does not have.
 */
export function allowOnly(names: readonly string[], arch: Arch = hostArch): Uint8Array {
  const [abi] = abisOf(arch, []);
  const rules = new Map<number, SyscallRules>();
  for (const name of names) {
    const number = abi!.numbers[name];
    if (number === undefined) throw new RangeError(`${arch} has no system call ${name}`);
    rules.set(number, { always: C.SECCOMP_RET_ALLOW, conditional: [] });
  }
  return encodeProgram(emitFilter([{ abi: abi!, rules, byDefault: C.SECCOMP_RET_KILL_PROCESS, newest: undefined }]));
}

/** Flags that the profile does not mention at all are SPEC_ALLOW, as runc has it; an empty list is none. */
function filterFlags(seccomp: Seccomp): number {
  const names = seccomp.flags ?? ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'];
  const flags = names.reduce((bits, name) => bits | C[name as keyof typeof C], 0);
  const notifies = (seccomp.syscalls ?? []).some(({ action }) => action === 'SCMP_ACT_NOTIFY');
  // TSYNC is about other threads, of which a process on its way to exec has none; with a listener the kernel refuses it.
  return notifies ? (flags & ~C.SECCOMP_FILTER_FLAG_TSYNC) | C.SECCOMP_FILTER_FLAG_NEW_LISTENER : flags;
}

/** The program before it is encoded. */
export function assembleFilter(seccomp: Seccomp, arch: Arch): Instruction[] {
  const rules = rulesByName(seccomp);
  const byDefault = returnValue(seccomp.defaultAction, seccomp.defaultErrnoRet);
  const names = (seccomp.syscalls ?? []).flatMap((rule) => rule.names);
  // A tracer that sees a new system call can say ENOSYS itself; LOG and ALLOW let the kernel say it.
  const letsPass = !isAtMost(byDefault, C.SECCOMP_RET_USER_NOTIF);
  const sections = abisOf(arch, seccomp.architectures ?? []).map((abi): Section => {
    const newest = letsPass ? undefined : newestOf(abi, names);
    return { abi, byDefault, newest, rules: byNumber(abi, rules, multiplexedRules(abi, rules, byDefault)) };
  });
  return emitFilter(sections);
}

/** arm has numbers of its own kind far above all others (__ARM_NR_BASE in asm/unistd.h). */
const ARM_PRIVATE = 0x0f0000;

function newestOf(abi: Abi, names: readonly string[]): number | undefined {
  let newest: number | undefined;
  for (const name of names) {
    const number = abi.numbers[name];
    if (number === undefined || (number >= ARM_PRIVATE && !abi.marked)) continue;
    if (newest === undefined || number > newest) newest = number;
  }
  return newest;
}

function byNumber(abi: Abi, ...maps: readonly ReadonlyMap<string, SyscallRules>[]): Map<number, SyscallRules> {
  const result = new Map<number, SyscallRules>();
  for (const rules of maps) {
    rules.forEach((found, name) => {
      const number = abi.numbers[name];
      if (number !== undefined) result.set(number, found);
    });
  }
  return result;
}

/** Programs of an ABI that the profile does not have are killed, which is libseccomp's default for them. */
function emitFilter(sections: readonly Section[]): Instruction[] {
  const a = new Assembler();
  const starts = new Map<number, { label: Label; sections: Section[] }>();
  for (const section of sections) {
    const { audit } = section.abi;
    const start = starts.get(audit) ?? { label: new Label(), sections: [] };
    start.sections.push(section);
    starts.set(audit, start);
  }
  a.load(ARCH_OFFSET);
  for (const [audit, { label }] of starts) {
    const next = new Label();
    a.branch('JEQ', audit, label, next);
    a.place(next);
  }
  a.return(C.SECCOMP_RET_KILL_THREAD);
  for (const [audit, { label, sections: parts }] of starts) {
    a.place(label);
    a.load(NR_OFFSET);
    if (audit === C.AUDIT_ARCH_X86_64) emitX86(a, parts);
    else parts.forEach((section) => emitSection(a, section));
  }
  return a.assemble();
}

/** Tells x32 from x86_64. The number -1, which a tracer sets to skip a call, is x86_64's without x32 (as libseccomp). */
function emitX86(a: Assembler, sections: readonly Section[]): void {
  const own = new Label();
  const marked = new Label();
  a.branch('JGE', X32_BIT, marked, own);
  a.place(marked);
  const x32 = sections.find(({ abi }) => abi.marked);
  if (x32) {
    emitSection(a, x32);
  } else {
    const refused = new Label();
    a.branch('JEQ', 0xffffffff, own, refused);
    a.place(refused);
    a.return(C.SECCOMP_RET_KILL_THREAD);
  }
  a.place(own);
  sections.filter(({ abi }) => !abi.marked).forEach((section) => emitSection(a, section));
}

/**
 * The loaded word is the number. First come the system calls whose arguments count, then all others: for each set of
 * conditions, and for each action, the ranges of numbers that it is for. The kernel keeps a bitmap of what is always
 * allowed (since 5.11), so for most calls none of this runs.
 */
function emitSection(a: Assembler, { abi, rules, byDefault, newest }: Section): void {
  const { conditional, always } = group(rules);
  for (const { numbers, conditions } of conditional) {
    emitRanges(a, ranges(numbers), () => {
      for (const rule of conditions) emitRule(a, abi, rule);
      a.return(byDefault);
    });
  }
  always.forEach((numbers, action) => emitRanges(a, ranges(numbers), () => a.return(action)));
  if (newest !== undefined) {
    const isNew = new Label();
    const isOld = new Label();
    a.branch('JGT', newest, isNew, isOld);
    a.place(isNew);
    a.return(C.SECCOMP_RET_ERRNO + errnoNumber('ENOSYS'));
    a.place(isOld);
  }
  a.return(byDefault);
}

interface Groups {
  /** Numbers that have the same conditional rules. */
  readonly conditional: readonly { readonly numbers: number[]; readonly conditions: readonly ConditionalRule[] }[];
  /** Numbers by what they always return. */
  readonly always: ReadonlyMap<number, number[]>;
}

/** The numbers of each group ascend. */
function group(rules: ReadonlyMap<number, SyscallRules>): Groups {
  const conditional: { numbers: number[]; conditions: readonly ConditionalRule[] }[] = [];
  const always = new Map<number, number[]>();
  for (const number of [...rules.keys()].sort((x, y) => x - y)) {
    const found = rules.get(number)!;
    if (found.always !== undefined) {
      const numbers = always.get(found.always);
      if (numbers) numbers.push(number);
      else always.set(found.always, [number]);
      continue;
    }
    const { conditional: conditions } = found;
    const same = conditional.find(
      (one) => one.conditions.length === conditions.length && one.conditions.every((rule, i) => rule === conditions[i]),
    );
    if (same) same.numbers.push(number);
    else conditional.push({ numbers: [number], conditions });
  }
  return { conditional, always };
}

function emitRule(a: Assembler, abi: Abi, { args, returns }: ConditionalRule): void {
  const next = new Label();
  for (const arg of args) {
    const holds = new Label();
    emitCondition(a, arg, abi.wide, { yes: holds, no: next });
    a.place(holds);
  }
  a.return(returns);
  a.place(next);
}

type Range = readonly [first: number, last: number];

/** Ascending numbers as ranges without gaps. */
function ranges(numbers: readonly number[]): Range[] {
  const result: [number, number][] = [];
  for (const number of numbers) {
    const last = result.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else result.push([number, number]);
  }
  return result;
}

/**
 * Goes to `body`, which must end in a return, for numbers in the ranges, and past it for all others. The ranges ascend, so a
 * number below one of them is in none of those that follow.
 */
function emitRanges(a: Assembler, list: readonly Range[], body: () => void): void {
  const found = new Label();
  const none = new Label();
  list.forEach(([first, last], i) => {
    const next = i === list.length - 1 ? none : new Label();
    if (first === last) {
      a.branch('JEQ', first, found, next);
    } else {
      const notBelow = new Label();
      a.branch('JGE', first, notBelow, none);
      a.place(notBelow);
      a.branch('JGT', last, next, found);
    }
    if (next !== none) a.place(next);
  });
  a.place(found);
  body();
  a.place(none);
}
