import { type Arch, C, hostArch, errnoNumber, syscallNumbers } from './constants';
import {
  type CallInstruction,
  type Donations,
  type Instruction,
  type Operand,
  Program,
  type Relocation,
} from './program';

/** A value that a program computes while it runs: the result of a system call. */
export class Slot {
  constructor(
    readonly index: number,
    readonly name: string,
  ) {}
}

/** A place in the program's image. As an argument it becomes a pointer. */
export class Addr {
  readonly #text: string | (() => string);

  /** @param text how the printer shows it, such as `"/proc"`, or a function that finds that when it is printed */
  constructor(
    readonly offset: number,
    readonly size: number,
    text: string | (() => string),
  ) {
    this.#text = text;
  }

  get text(): string {
    return typeof this.#text === 'string' ? this.#text : this.#text();
  }

  /** The place `by` bytes further on. */
  plus(by: number, size = this.size - by): Addr {
    return new Addr(this.offset + by, size, () => `${this.text}+${by}`);
  }
}

/** The number that stands in the image at `offset` when the instruction is reached. */
export class Word {
  constructor(
    readonly offset: number,
    readonly bits: 32 | 64,
    readonly name: string,
  ) {}
}

/** A number with the name that the printer shows for it: flags, donated fds. */
export class Named {
  readonly #text: string | (() => string);

  /** @param text the name, or a function that finds it when it is printed */
  constructor(
    readonly value: number | bigint,
    text: string | (() => string),
  ) {
    this.#text = text;
  }

  get text(): string {
    return typeof this.#text === 'string' ? this.#text : this.#text();
  }
}

export type Arg = number | bigint | Slot | Addr | Word | Named;
/** An argument that is a file descriptor: AT_FDCWD, a donated fd, a slot, a word received in a message. */
export type Fd = number | Slot | Word | Named;

export interface CallOptions {
  /** Where the result goes. */
  readonly out?: Slot;
  /** Errnos that do not end the program, by name, or all of them. */
  readonly tolerate?: readonly string[] | 'all';
  /** Call again on EINTR. */
  readonly retry?: boolean;
  /** Call again on EAGAIN too, at most 1024 times: the kernel lost a race against others, as openat2(2) does, and wants that. */
  readonly raced?: boolean;
  /** Call again until the count argument is used up; indexes of the arguments. */
  readonly repeat?: { readonly count: number; readonly buffer?: number; readonly offset?: number };
}

/** A place that jumps lead to. */
export class Label {
  at: number | undefined;
  readonly from: number[] = [];
}

const MAX_SLOTS = 256;
const MAX_ARGUMENTS = 6;
const MAX_TOLERATED = 4;
/** Fds 3 and 4 are the program and the report socket; donated fds follow (docs/syscall-programs.md). */
export const REPORT_FD = 4;
const FIRST_DONATED_FD = 5;

/**
 * Builds a syscall program. Nothing here knows what a program is for; `syscall/calls` has the typed system calls.
 *
 * A step is a phrase such as `mounting proc on /proc`: it stands before every instruction that follows it in listings,
 * and in the error when one of them fails.
 */
export class ProgramBuilder {
  readonly #instructions: Instruction[] = [];
  readonly #relocations: Relocation[] = [];
  readonly #slots: string[] = [];
  #slotsInUse = 0;
  readonly #donations: string[] = [];
  readonly #strings = new Map<string, Addr>();
  readonly #process: string[] = [];
  readonly #last: (() => void)[] = [];
  #image = Buffer.alloc(4096);
  #imageSize = 0;
  #step = '';

  constructor(readonly arch: Arch = hostArch) {}

  /** Says what the instructions that follow are for. */
  step(phrase: string): this {
    this.#step = phrase;
    return this;
  }

  /** A new slot; `name` is for listings. @throws RangeError when more than 256 are in use at once. */
  slot(name: string): Slot {
    if (this.#slotsInUse === MAX_SLOTS) throw new RangeError(`a program has at most ${MAX_SLOTS} slots`);
    const index = this.#slotsInUse++;
    this.#slots[index] ??= name;
    return new Slot(index, name);
  }

  /** Slots made in `body` are free for others after it; what it returns must not hold one. */
  scope<T>(body: () => T): T {
    const before = this.#slotsInUse;
    const result = body();
    this.#slotsInUse = before;
    return result;
  }

  /** The fd that the caller donates under this name; the same name gives the same fd. */
  donated(name: string): Named {
    let index = this.#donations.indexOf(name);
    if (index < 0) index = this.#donations.push(name) - 1;
    return new Named(FIRST_DONATED_FD + index, `<${name}>`);
  }

  /** The report socket. */
  get report(): Named {
    return new Named(REPORT_FD, '<report>');
  }

  /** Room for `size` zero bytes. */
  space(size: number, text: string | (() => string) = 'buffer', align = 8): Addr {
    const offset = (this.#imageSize + align - 1) & ~(align - 1);
    const end = offset + size;
    if (end > this.#image.length) {
      const grown = Buffer.alloc(Math.max(end, this.#image.length * 2));
      this.#image.copy(grown, 0, 0, this.#imageSize);
      this.#image = grown;
    }
    this.#imageSize = end;
    return new Addr(offset, size, text);
  }

  /** A copy of `data`. */
  bytes(data: Uint8Array, text: string | (() => string) = `{${data.length} bytes}`, align = 8): Addr {
    const addr = this.space(data.length, text, align);
    this.#image.set(data, addr.offset);
    return addr;
  }

  /** A NUL-terminated string; equal strings share a place, so a program must not write into one. */
  string(text: string | Uint8Array): Addr {
    const raw = typeof text === 'string' ? Buffer.from(text) : Buffer.from(text);
    if (raw.includes(0)) throw new RangeError(`NUL in a string argument: ${JSON.stringify(raw.toString())}`);
    const key = raw.toString('latin1');
    let addr = this.#strings.get(key);
    if (!addr) {
      addr = this.bytes(Buffer.concat([raw, Buffer.alloc(1)]), () => JSON.stringify(raw.toString()), 1);
      this.#strings.set(key, addr);
    }
    return addr;
  }

  /** The number at `addr`, as an argument: one fd of a pair that pipe2(2) wrote there, say. */
  word(addr: Addr, bits: 32 | 64, name: string): Word {
    return new Word(addr.offset, bits, name);
  }

  /** A close-on-exec duplicate of an fd, in a slot, so that it can be sent on. */
  keep(fd: Word, name: string): Slot {
    const out = this.slot(name);
    const duplicate = new Named(C.F_DUPFD_CLOEXEC, 'F_DUPFD_CLOEXEC');
    this.call('fcntl', [fd, duplicate, 0], { out });
    return out;
  }

  /** A NULL-terminated array of pointers to strings, as execve(2) takes. */
  stringArray(list: readonly string[]): Addr {
    const array = this.space((list.length + 1) * 8, () => JSON.stringify(list));
    list.forEach((text, i) => this.pointer(array.plus(i * 8, 8), this.string(text)));
    return array;
  }

  setU32(at: Addr, value: number): void {
    this.#image.writeUInt32LE(value >>> 0, at.offset);
  }

  setU64(at: Addr, value: bigint | number): void {
    this.#image.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at.offset);
  }

  /** Eight bytes at `at` become the address of `target`. */
  pointer(at: Addr, target: Addr): void {
    this.#relocations.push({ at: at.offset, kind: 'address', slot: 0, value: target.offset });
  }

  /** Four or eight bytes at `at` become the slot's value each time that it is set. */
  slotAt(at: Addr, slot: Slot, bits: 32 | 64): void {
    this.#relocations.push({ at: at.offset, kind: bits === 32 ? 'slot32' : 'slot64', slot: slot.index, value: 0 });
  }

  /**
   * A string with a slot's decimal value in it, between `before` and `after`. The number is padded on the left with `/`,
   * so this is for paths of procfs only, where a doubled slash means nothing.
   */
  pathWithNumber(before: string, slot: Slot, after: string): Addr {
    const width = 10;
    const text = Buffer.from(`${before}${'/'.repeat(width)}${after}\0`);
    const addr = this.bytes(text, JSON.stringify(`${before}$${slot.name}${after}`), 1);
    this.#relocations.push({ at: addr.offset + before.length, kind: 'decimal', slot: slot.index, value: width });
    return addr;
  }

  /** Adds a system call. @throws RangeError for a name that the architecture does not have, or more than the format holds. */
  call(name: string, args: readonly Arg[], options: CallOptions = {}): void {
    const nr = syscallNumbers(this.arch)[name];
    if (nr === undefined) throw new RangeError(`${this.arch} has no system call ${name}`);
    if (args.length > MAX_ARGUMENTS) throw new RangeError(`${name} has more than ${MAX_ARGUMENTS} arguments`);
    const tolerated = Array.isArray(options.tolerate) ? options.tolerate.map(errnoNumber) : [];
    if (tolerated.length > MAX_TOLERATED) throw new RangeError(`${name} tolerates more than ${MAX_TOLERATED} errnos`);
    this.#instructions.push({
      kind: 'call',
      name,
      nr,
      operands: args.map(toOperand),
      out: options.out?.index,
      outName: options.out?.name,
      tolerateAll: options.tolerate === 'all',
      tolerated,
      retry: options.retry ?? false,
      raced: options.raced ?? false,
      repeat: options.repeat,
      step: this.#step,
      process: this.#process.join('/'),
    });
  }

  jumpIfZero(slot: Slot, to: Label): void {
    this.#jump('jumpIfZero', slot, to);
  }

  jumpIfNotZero(slot: Slot, to: Label): void {
    this.#jump('jumpIfNotZero', slot, to);
  }

  #jump(kind: 'jumpIfZero' | 'jumpIfNotZero', slot: Slot, to: Label): void {
    if (to.at !== undefined) throw new RangeError('a program jumps forward only');
    to.from.push(this.#instructions.length);
    this.#instructions.push({
      kind,
      slot: slot.index,
      slotName: slot.name,
      target: 0,
      step: this.#step,
      process: this.#process.join('/'),
    });
  }

  /** A label that has no place yet. */
  label(): Label {
    return new Label();
  }

  /** The label's jumps lead to the next instruction. */
  place(label: Label): void {
    label.at = this.#instructions.length;
    for (const from of label.from) {
      const jump = this.#instructions[from]!;
      if (jump.kind !== 'call') jump.target = label.at;
    }
  }

  /** Instructions added by `body` are listed as run by the process called `name`. */
  inProcess(name: string, body: () => void): void {
    this.#process.push(name);
    body();
    this.#process.pop();
  }

  /**
   * Calls `complete` when all else is built, with the system calls that the present process, and those that it clones, make from here
   * on. It may add to the image, but no instructions.
   */
  whenBuilt(complete: (calls: readonly CallInstruction[]) => void): void {
    const from = this.#instructions.length;
    const process = this.#process.join('/');
    const ofProcess = (one: Instruction): one is CallInstruction =>
      one.kind === 'call' && (process === '' || one.process === process || one.process.startsWith(`${process}/`));
    this.#last.push(() => complete(this.#instructions.slice(from).filter(ofProcess)));
  }

  /** The finished program. The builder must not be used afterwards. @throws RangeError for a jump to a label without a place. */
  build(): Program {
    for (const complete of this.#last) complete();
    const lost = this.#instructions.find((one) => one.kind !== 'call' && one.target === 0);
    if (lost) throw new RangeError(`a jump leads nowhere: ${lost.step}`);
    return new Program({
      arch: this.arch,
      instructions: this.#instructions,
      relocations: this.#relocations,
      slots: this.#slots,
      donations: this.#donations satisfies Donations,
      image: this.#image.subarray(0, this.#imageSize),
    });
  }
}

function toOperand(arg: Arg): Operand {
  if (typeof arg === 'number' || typeof arg === 'bigint') return new NumberOperand(BigInt(arg));
  if (arg instanceof Named) return new NamedOperand('immediate', BigInt(arg.value), arg);
  if (arg instanceof Slot) return { kind: 'slot', value: BigInt(arg.index), text: `$${arg.name}` };
  if (arg instanceof Addr) return new NamedOperand('address', BigInt(arg.offset), arg);
  return { kind: arg.bits === 32 ? 'word32' : 'word64', value: BigInt(arg.offset), text: `$${arg.name}` };
}

class NumberOperand implements Operand {
  readonly kind = 'immediate';

  constructor(readonly value: bigint) {}

  get text(): string {
    return `${this.value}`;
  }
}

/** Finds the text when it is asked for: programs are run far more often than they are printed. */
class NamedOperand implements Operand {
  constructor(
    readonly kind: 'immediate' | 'address',
    readonly value: bigint,
    private readonly named: Named | Addr,
  ) {}

  get text(): string {
    return this.named.text;
  }
}
