import { type Arch, errnoName } from './constants';
import { SiltError, type ErrorCode } from '../errors';

/** One argument of a system call, as docs/syscall-programs.md encodes it. */
export interface Operand {
  readonly kind: 'immediate' | 'address' | 'slot' | 'word32' | 'word64';
  readonly value: bigint;
  readonly text: string;
}

interface Place {
  /** What this instruction is for, such as `mounting proc on /proc`. */
  readonly step: string;
  /** Which of the program's processes runs it, such as `gofer`; empty for the one that was started. */
  readonly process: string;
}

export interface CallInstruction extends Place {
  readonly kind: 'call';
  readonly name: string;
  readonly nr: number;
  readonly operands: readonly Operand[];
  readonly out: number | undefined;
  /** The result's name in listings: a slot can serve several in turn. */
  readonly outName: string | undefined;
  readonly tolerateAll: boolean;
  readonly tolerated: readonly number[];
  readonly retry: boolean;
  readonly raced: boolean;
  readonly repeat: { readonly count: number; readonly buffer?: number; readonly offset?: number } | undefined;
}

export interface JumpInstruction extends Place {
  readonly kind: 'jumpIfZero' | 'jumpIfNotZero';
  readonly slot: number;
  readonly slotName: string;
  target: number;
}

export type Instruction = CallInstruction | JumpInstruction;

export interface Relocation {
  readonly at: number;
  readonly kind: 'address' | 'slot32' | 'slot64' | 'decimal';
  readonly slot: number;
  readonly value: number;
}

/** Names of the fds that a program expects, in the order in which they are handed over. */
export type Donations = readonly string[];

interface ProgramParts {
  readonly arch: Arch;
  readonly instructions: readonly Instruction[];
  readonly relocations: readonly Relocation[];
  readonly slots: readonly string[];
  readonly donations: Donations;
  readonly image: Buffer;
}

const MAGIC = 0x544c4953;
const HEADER = 32;
const INSTRUCTION = 72;
const RELOCATION = 16;
const NO_SLOT = 0xffff;
const MACHINE: Record<Arch, number> = { x86_64: 62, aarch64: 183 };
const OPERAND_KIND = { immediate: 0, address: 1, slot: 2, word32: 3, word64: 4 } as const;
const RELOCATION_KIND = { address: 1, slot32: 2, slot64: 3, decimal: 4 } as const;

/** A finished syscall program: immutable data, with names kept for listings and error messages. */
export class Program {
  readonly arch: Arch;
  readonly instructions: readonly Instruction[];
  readonly slots: readonly string[];
  readonly donations: Donations;
  readonly #relocations: readonly Relocation[];
  readonly #image: Buffer;

  constructor(parts: ProgramParts) {
    this.arch = parts.arch;
    this.instructions = parts.instructions;
    this.slots = parts.slots;
    this.donations = parts.donations;
    this.#relocations = parts.relocations;
    this.#image = parts.image;
  }

  /** Where the image starts in what {@link encode} returns, for reading results back after an in-process run. */
  get imageOffset(): number {
    return HEADER + this.instructions.length * INSTRUCTION + this.#relocations.length * RELOCATION;
  }

  /** A fresh copy of the program in the interpreter's format (docs/syscall-programs.md). */
  encode(): Buffer {
    const total = this.imageOffset + this.#image.length;
    const out = Buffer.alloc(total);
    // Its setters are V8's own; Buffer's are JavaScript, which a short command would run uncompiled, thousands of times.
    const view = new DataView(out.buffer, out.byteOffset, total);
    view.setUint32(0, MAGIC, true);
    view.setUint16(4, 1, true);
    view.setUint16(6, MACHINE[this.arch], true);
    view.setUint32(8, this.instructions.length, true);
    view.setUint32(12, this.#relocations.length, true);
    view.setUint32(16, this.#image.length, true);
    view.setUint16(20, this.slots.length, true);
    view.setUint32(24, total, true);
    let at = HEADER;
    for (const instruction of this.instructions) {
      encodeInstruction(view, at, instruction);
      at += INSTRUCTION;
    }
    // Address relocations first, then by slot: the interpreter finds a slot's relocations as one run.
    const sorted = [...this.#relocations].sort((a, b) => rank(a) - rank(b));
    for (const relocation of sorted) {
      view.setUint32(at, relocation.at, true);
      view.setUint16(at + 4, RELOCATION_KIND[relocation.kind], true);
      view.setUint16(at + 6, relocation.slot, true);
      view.setUint32(at + 8, relocation.value, true);
      at += RELOCATION;
    }
    this.#image.copy(out, at);
    return out;
  }

  /**
   * What the failures of all instructions from the first one of `step` on are called, as plain data: for whoever watches
   * the end of a program that another process has started.
   */
  failuresFrom(step: string): FailureNames {
    const first = this.instructions.findIndex((instruction) => instruction.step === step);
    return this.instructions.flatMap((instruction, index) =>
      first < 0 || index < first || instruction.kind !== 'call'
        ? []
        : [[index, describeInstruction(instruction), instruction.name] as const],
    );
  }

  /** The error for a failed instruction. `codes` maps errno names to error codes, SYSCALL_FAILED otherwise. */
  failure(index: number, errno: number, codes: Readonly<Record<string, ErrorCode>> = {}): SiltError {
    const name = errnoName(errno);
    const instruction = this.instructions[index];
    if (!instruction) {
      return new SiltError(
        'PROGRAM_INVALID',
        `the interpreter refused a syscall program (reason ${errno}); this is a bug in silt`,
      );
    }
    const what = callOf(instruction);
    const message = `${describeInstruction(instruction)}: ${name}`;
    return new SiltError(codes[name] ?? 'SYSCALL_FAILED', message, { syscall: what, errno: name });
  }
}

function callOf(instruction: Instruction): string {
  return instruction.kind === 'call' ? instruction.name : instruction.kind;
}

function describeInstruction(instruction: Instruction): string {
  const what = callOf(instruction);
  const where = instruction.process === '' ? '' : ` (${instruction.process})`;
  return `${instruction.step || what}${where}: ${what}`;
}

/** Whoever can tell what the failure of an instruction means. */
export interface Failures {
  failure(index: number, errno: number): SiltError;
}

/** Index of the instruction, its step and system call in words, and the system call. */
export type FailureNames = readonly (readonly [index: number, description: string, syscall: string])[];

/** The failures that {@link Program.failuresFrom} wrote down. */
export function namedFailures(names: FailureNames): Failures {
  return {
    failure(index, errno) {
      const [, description = `instruction ${index} of a syscall program`, syscall = ''] =
        names.find(([at]) => at === index) ?? [];
      const name = errnoName(errno);
      return new SiltError('SYSCALL_FAILED', `${description}: ${name}`, { syscall, errno: name });
    },
  };
}

function rank(relocation: Relocation): number {
  return relocation.kind === 'address' ? -1 : relocation.slot;
}

function encodeInstruction(view: DataView, at: number, instruction: Instruction): void {
  if (instruction.kind !== 'call') {
    view.setUint16(at, instruction.kind === 'jumpIfZero' ? 1 : 2, true);
    view.setUint16(at + 4, instruction.slot, true);
    view.setUint16(at + 22, instruction.target, true);
    return;
  }
  const { repeat } = instruction;
  view.setUint16(at + 2, instruction.nr, true);
  view.setUint16(at + 4, instruction.out ?? NO_SLOT, true);
  const { tolerateAll, retry, raced } = instruction;
  view.setUint8(at + 6, (repeat ? 1 : 0) | (tolerateAll ? 2 : 0) | (retry ? 4 : 0) | (raced ? 8 : 0));
  view.setUint8(at + 7, instruction.tolerated.length);
  instruction.tolerated.forEach((errno, i) => view.setUint16(at + 8 + i * 2, errno, true));
  instruction.operands.forEach((operand, i) => {
    view.setUint8(at + 16 + i, OPERAND_KIND[operand.kind]);
    // Modulo 2^64, as a negative number goes to the kernel.
    view.setBigUint64(at + 24 + i * 8, operand.value, true);
  });
  if (repeat) {
    const buffer = repeat.buffer === undefined ? 0 : repeat.buffer + 1;
    const offset = repeat.offset === undefined ? 0 : repeat.offset + 1;
    view.setUint16(at + 22, repeat.count | (buffer << 3) | (offset << 6), true);
  }
}
