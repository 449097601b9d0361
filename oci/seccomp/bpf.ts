import { C } from '../../syscall';

/** One instruction of classic BPF, `struct sock_filter` (linux/filter.h). Jumps count from the next instruction. */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/** A place in a program that jumps lead to; it must be placed behind all of them. */
export class Label {
  index: number | undefined;
}

export type Comparison = 'JEQ' | 'JGT' | 'JGE' | 'JSET';

type Item =
  | { readonly kind: 'plain'; readonly instruction: Instruction }
  | {
      readonly kind: 'branch';
      readonly code: number;
      readonly k: number;
      readonly yes: Label;
      readonly no: Label;
      long: boolean;
    };

const LOAD_WORD = C.BPF_LD | C.BPF_W | C.BPF_ABS;
const AND = C.BPF_ALU | C.BPF_AND | C.BPF_K;
const RETURN = C.BPF_RET | C.BPF_K;
const GO = C.BPF_JMP | C.BPF_JA;
const COMPARE: Readonly<Record<Comparison, number>> = {
  JEQ: C.BPF_JMP | C.BPF_JEQ | C.BPF_K,
  JGT: C.BPF_JMP | C.BPF_JGT | C.BPF_K,
  JGE: C.BPF_JMP | C.BPF_JGE | C.BPF_K,
  JSET: C.BPF_JMP | C.BPF_JSET | C.BPF_K,
};
/** A comparison has 8 bits for each of its two distances; an unconditional jump has 32. */
const FARTHEST = 255;

/** Collects instructions with symbolic jumps and turns them into a program. */
export class Assembler {
  readonly #items: Item[] = [];

  /** Loads 32 bits of `struct seccomp_data`. */
  load(offset: number): void {
    this.#plain(LOAD_WORD, offset);
  }

  and(mask: number): void {
    this.#plain(AND, mask);
  }

  return(value: number): void {
    this.#plain(RETURN, value);
  }

  /** Goes to `yes` when the loaded word compares so with `k` (unsigned), otherwise to `no`. */
  branch(how: Comparison, k: number, yes: Label, no: Label): void {
    this.#items.push({ kind: 'branch', code: COMPARE[how], k: k >>> 0, yes, no, long: false });
  }

  /** The label's place is the next instruction. */
  place(label: Label): void {
    label.index = this.#items.length;
  }

  #plain(code: number, k: number): void {
    this.#items.push({ kind: 'plain', instruction: { code, jt: 0, jf: 0, k: k >>> 0 } });
  }

  assemble(): Instruction[] {
    let starts = this.#starts();
    // Lengthening one branch can push another one's target out of reach; branches never get shorter, so this ends.
    while (this.#lengthen(starts)) starts = this.#starts();
    return this.#items.flatMap((item, i) =>
      item.kind === 'plain' ? [item.instruction] : encodeBranch(item, i, starts),
    );
  }

  /** Where each item begins; one more entry for the end. */
  #starts(): number[] {
    const starts = [0];
    for (const item of this.#items) starts.push(starts.at(-1)! + (item.kind === 'branch' && item.long ? 3 : 1));
    return starts;
  }

  #lengthen(starts: readonly number[]): boolean {
    let changed = false;
    this.#items.forEach((item, i) => {
      if (item.kind !== 'branch' || item.long) return;
      const far = [item.yes, item.no].some((label) => distance(label, starts[i]! + 1, starts) > FARTHEST);
      if (far) {
        item.long = true;
        changed = true;
      }
    });
    return changed;
  }
}

function distance(label: Label, from: number, starts: readonly number[]): number {
  const to = label.index === undefined ? -1 : starts[label.index]!;
  if (to < from) throw new RangeError('BPF jumps forward only, to a label that is placed');
  return to - from;
}

/** A long branch goes over two unconditional jumps. */
function encodeBranch(item: Item & { kind: 'branch' }, i: number, starts: readonly number[]): Instruction[] {
  const { code, k, yes, no } = item;
  const next = starts[i]! + 1;
  if (!item.long) return [{ code, jt: distance(yes, next, starts), jf: distance(no, next, starts), k }];
  return [
    { code, jt: 0, jf: 1, k },
    { code: GO, jt: 0, jf: 0, k: distance(yes, next + 1, starts) },
    { code: GO, jt: 0, jf: 0, k: distance(no, next + 2, starts) },
  ];
}

/** The bytes that seccomp(2) takes a pointer to. */
export function encodeProgram(program: readonly Instruction[]): Uint8Array {
  const bytes = Buffer.alloc(program.length * 8);
  program.forEach(({ code, jt, jf, k }, i) => {
    bytes.writeUInt16LE(code, i * 8);
    bytes.writeUInt8(jt, i * 8 + 2);
    bytes.writeUInt8(jf, i * 8 + 3);
    bytes.writeUInt32LE(k, i * 8 + 4);
  });
  return bytes;
}
