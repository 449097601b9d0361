import type { SeccompArg } from '../spec-linux';
import { type Assembler, type Comparison, Label } from './bpf';

/** Offsets in `struct seccomp_data` (linux/seccomp.h). Both architectures are little endian. */
export const NR_OFFSET = 0;
export const ARCH_OFFSET = 4;
const argOffset = (index: number): number => 16 + index * 8;

const low = (value: bigint): number => Number(value & 0xffffffffn);
const high = (value: bigint): number => Number((value >> 32n) & 0xffffffffn);

/** Where to go when a condition holds and when not. */
export interface Outcome {
  readonly yes: Label;
  readonly no: Label;
}

/** What to compare a masked argument with. */
interface Equality {
  readonly index: number;
  readonly value: bigint;
  readonly mask?: bigint;
}

/**
 * Goes where the condition leads. BPF has 32-bit words, so a 64-bit argument is compared in halves; of a 32-bit one, and of
 * what it is compared with, only the lower half counts, as libseccomp has it.
 */
export function emitCondition(a: Assembler, arg: SeccompArg, wide: boolean, { yes, no }: Outcome): void {
  const { index, op } = arg;
  const value = BigInt(arg.value);
  const opposite = { yes: no, no: yes };
  if (op === 'SCMP_CMP_EQ') emitEqual(a, { index, value }, wide, { yes, no });
  else if (op === 'SCMP_CMP_NE') emitEqual(a, { index, value }, wide, opposite);
  else if (op === 'SCMP_CMP_GT') emitOrder(a, { index, value, how: 'JGT' }, wide, { yes, no });
  else if (op === 'SCMP_CMP_GE') emitOrder(a, { index, value, how: 'JGE' }, wide, { yes, no });
  else if (op === 'SCMP_CMP_LT') emitOrder(a, { index, value, how: 'JGE' }, wide, opposite);
  else if (op === 'SCMP_CMP_LE') emitOrder(a, { index, value, how: 'JGT' }, wide, opposite);
  else emitEqual(a, { index, value: BigInt(arg.valueTwo ?? 0) & value, mask: value }, wide, { yes, no });
}

function emitEqual(a: Assembler, { index, value, mask }: Equality, wide: boolean, { yes, no }: Outcome): void {
  if (wide) {
    const upperEqual = new Label();
    a.load(argOffset(index) + 4);
    if (mask !== undefined) a.and(high(mask));
    a.branch('JEQ', high(value), upperEqual, no);
    a.place(upperEqual);
  }
  a.load(argOffset(index));
  if (mask !== undefined) a.and(low(mask));
  a.branch('JEQ', low(value), yes, no);
}

interface Order {
  readonly index: number;
  readonly value: bigint;
  readonly how: Comparison;
}

function emitOrder(a: Assembler, { index, value, how }: Order, wide: boolean, { yes, no }: Outcome): void {
  if (wide) {
    const notAbove = new Label();
    const upperEqual = new Label();
    a.load(argOffset(index) + 4);
    a.branch('JGT', high(value), yes, notAbove);
    a.place(notAbove);
    a.branch('JEQ', high(value), upperEqual, no);
    a.place(upperEqual);
  }
  a.load(argOffset(index));
  a.branch(how, low(value), yes, no);
}
