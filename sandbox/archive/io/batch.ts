/**
 * Syscall programs for many files at once (docs/syscall-programs.md), laid out straight in memory that is used again.
 *
 * `ProgramBuilder` makes an object of every argument, so that programs can be printed; here a program has hundreds of
 * calls, is thrown away after one run, and building it that way would cost more than running it.
 */
import { errnoName, hostArch, syscallNumbers } from '../../../syscall';

/** What archives need of the native addon. The program runs in place, on this thread. */
export interface SyscallRunner {
  /** @returns -1, or the index of the failed instruction * 4096 + its errno. */
  run(program: Uint8Array, slots: BigInt64Array): number;
}

/**
 * An argument: a number in itself, or a place that {@link addressOf}, {@link slotOf}, {@link word64At} made. A plain number
 * rather than an object, so that adding a call allocates nothing.
 */
export type Arg = number;

export interface Failure {
  /** Index of the call. */
  readonly index: number;
  /** Name of the errno. */
  readonly errno: string;
  /** The phrase that {@link Batch.step} gave. */
  readonly step: string;
}

const MAGIC = 0x544c4953;
const MACHINE = { x86_64: 62, aarch64: 183 }[hostArch];
const HEADER = 32;
const INSTRUCTION = 72;
const WORDS = INSTRUCTION / 4;
const FIRST_ARGUMENT = 6;
const SLOTS = 256;
const NO_SLOT = 0xffff;
const REPEAT = 1 << 16;
const TOLERATE_ALL = 2 << 16;
const RETRY = 4 << 16;

// The kinds of argument in the format, put on top of values that are below 2^44 themselves.
const KIND = 2 ** 44;
const SLOT = 2;

/** Shows that a call's result is not kept. */
export const NOWHERE = -1;

/** The address of an offset in the image. */
export const addressOf = (offset: number): Arg => KIND + offset;
/** The value of a slot. */
export const slotOf = (slot: number): Arg => SLOT * KIND + slot;
/** The 64-bit number that stands in the image when the call is made. */
export const word64At = (offset: number): Arg => 4 * KIND + offset;

const numbers = syscallNumbers(hostArch);

/** A system call's number. @throws RangeError for a name that this machine does not have. */
export function callNumber(name: string): number {
  const number = numbers[name];
  if (number === undefined) throw new RangeError(`${hostArch} has no system call ${name}`);
  return number;
}

export class Batch {
  readonly #runner: SyscallRunner;
  readonly #memory: Buffer;
  readonly #imageAt: number;
  readonly #code: Uint32Array;
  readonly #codeBytes: Buffer;
  readonly #maxCalls: number;
  readonly #slots = new BigInt64Array(SLOTS);
  readonly #steps: string[] = [];
  #step = '';
  /** What the program's calls write to and read from; offsets are those that {@link space} gives. */
  readonly image: Buffer;
  #calls = 0;
  #used = 0;
  #slotsUsed = 0;
  #keptImage = 0;
  #keptSlots = 0;

  constructor(runner: SyscallRunner, { imageSize = 1 << 20, maxCalls = 1024 } = {}) {
    this.#runner = runner;
    this.#maxCalls = maxCalls;
    this.#imageAt = HEADER + maxCalls * INSTRUCTION;
    this.#memory = Buffer.alloc(this.#imageAt + imageSize);
    this.image = this.#memory.subarray(this.#imageAt);
    this.#code = new Uint32Array(maxCalls * WORDS);
    this.#codeBytes = Buffer.from(this.#code.buffer);
  }

  /** How many calls there are. */
  get calls(): number {
    return this.#calls;
  }

  /** Is there room for this many more calls, image bytes and slots? */
  hasRoom(calls: number, bytes: number, slots = 0): boolean {
    // Every piece of the image may need up to 7 bytes of padding, and no call needs more than four of them.
    const padding = 32 * calls;
    return (
      this.#calls + calls <= this.#maxCalls &&
      this.#used + bytes + padding <= this.image.length &&
      this.#slotsUsed + slots <= SLOTS
    );
  }

  /** What the image and the slots hold now stays there after every {@link clear}. */
  keep(): void {
    this.#keptImage = this.#used;
    this.#keptSlots = this.#slotsUsed;
  }

  /** Forgets all calls, and all of the image but what is kept. */
  clear(): void {
    this.#calls = 0;
    this.#used = this.#keptImage;
    this.#slotsUsed = this.#keptSlots;
  }

  /** Says what the calls that follow do, such as `creating the file`. */
  step(phrase: string): void {
    this.#step = phrase;
  }

  newSlot(): number {
    if (this.#slotsUsed === SLOTS) throw new RangeError('the batch has no slot left');
    return this.#slotsUsed++;
  }

  /** The value of a slot after a run, a negative errno where a failure was tolerated. */
  slot(slot: number): number {
    return Number(this.#slots[slot]);
  }

  /** Room in the image, with whatever was there before. @throws RangeError when it is full. */
  space(size: number): number {
    const at = (this.#used + 7) & ~7;
    if (at + size > this.image.length) throw new RangeError(`the batch has no room for ${size} bytes`);
    this.#used = at + size;
    return at;
  }

  /** A copy of the data in the image. */
  bytes(data: Uint8Array): number {
    const at = this.space(data.length);
    this.image.set(data, at);
    return at;
  }

  /** A byte string in the image, with a NUL behind it. */
  string(text: string): number {
    const at = this.space(text.length + 1);
    this.image.write(text, at, 'latin1');
    this.image[at + text.length] = 0;
    return at;
  }

  /** Writes a number, up to 2^53 and also negative, as 64 bits. */
  setWord64(at: number, value: number): void {
    this.image.writeInt32LE(value | 0, at);
    this.image.writeInt32LE(Math.floor(value / 2 ** 32), at + 4);
  }

  /** A number in the image, for arguments from 2^44 on and for structs. */
  word64(value: number): number {
    const at = this.space(8);
    this.setWord64(at, value);
    return at;
  }

  /** Adds a call, to be made again on EINTR. Its result goes to slot `out`, or {@link NOWHERE}. @returns its index. */
  call(
    number: number,
    out: number,
    a0: Arg = 0,
    a1: Arg = 0,
    a2: Arg = 0,
    a3: Arg = 0,
    a4: Arg = 0,
    a5: Arg = 0,
  ): number {
    if (this.#calls === this.#maxCalls) throw new RangeError('the batch has no room for another call');
    const code = this.#code;
    const at = this.#calls * WORDS;
    code[at] = number << 16;
    code[at + 1] = (out === NOWHERE ? NO_SLOT : out) | RETRY;
    code.fill(0, at + 2, at + FIRST_ARGUMENT);
    this.#argument(at, 0, a0);
    this.#argument(at, 1, a1);
    this.#argument(at, 2, a2);
    this.#argument(at, 3, a3);
    this.#argument(at, 4, a4);
    this.#argument(at, 5, a5);
    this.#steps[this.#calls] = this.#step;
    return this.#calls++;
  }

  #argument(at: number, index: number, arg: Arg): void {
    const kind = arg < KIND ? 0 : Math.floor(arg / KIND);
    const value = arg - kind * KIND;
    this.#code[at + FIRST_ARGUMENT + index * 2] = value | 0;
    this.#code[at + FIRST_ARGUMENT + index * 2 + 1] = Math.floor(value / 2 ** 32);
    this.#codeBytes[at * 4 + 16 + index] = kind;
  }

  /** The last call may fail in any way. */
  tolerateAll(): void {
    this.#code[(this.#calls - 1) * WORDS + 1]! |= TOLERATE_ALL;
  }

  /** The last call is made again until argument `count` is used up; argument `buffer` and `offset` advance. */
  repeat(count: number, buffer?: number, offset?: number): void {
    const at = (this.#calls - 1) * WORDS;
    const which =
      count | ((buffer === undefined ? 0 : buffer + 1) << 3) | ((offset === undefined ? 0 : offset + 1) << 6);
    this.#code[at + 1]! |= REPEAT;
    this.#code[at + 5]! |= which << 16;
  }

  /**
   * Makes the calls from index `from` on. After a failure the run can be taken up again at a later call, or at the
   * failed one once its reason is gone: what earlier calls left in slots is still known to the later ones.
   */
  run(from = 0): Failure | undefined {
    const count = this.#calls - from;
    if (count <= 0) return undefined;
    const start = this.#imageAt - count * INSTRUCTION - HEADER;
    const size = HEADER + count * INSTRUCTION + this.#used;
    const memory = this.#memory;
    memory.writeUInt32LE(MAGIC, start);
    memory.writeUInt16LE(1, start + 4);
    memory.writeUInt16LE(MACHINE, start + 6);
    memory.writeUInt32LE(count, start + 8);
    memory.writeUInt32LE(0, start + 12);
    memory.writeUInt32LE(this.#used, start + 16);
    memory.writeUInt32LE(SLOTS, start + 20);
    memory.writeUInt32LE(size, start + 24);
    memory.writeUInt32LE(0, start + 28);
    memory.set(this.#codeBytes.subarray(from * INSTRUCTION, this.#calls * INSTRUCTION), start + HEADER);
    const outcome = this.#runner.run(memory.subarray(start, start + size), this.#slots);
    if (outcome < 0) return undefined;
    const index = from + Math.floor(outcome / 4096);
    this.#fixSlots(from, index);
    return { index, errno: errnoName(outcome % 4096), step: this.#steps[index]! };
  }

  /** The next run starts with empty slots: puts the values that the calls up to `failed` left into the later calls. */
  #fixSlots(from: number, failed: number): void {
    const set = new Set<number>();
    for (let i = from; i < failed; i++) set.add(this.#code[i * WORDS + 1]! & 0xffff);
    for (let i = failed; i < this.#calls && set.size > 0; i++) {
      for (let k = 0; k < 6; k++) this.#fixArgument(i * WORDS, k, set);
      set.delete(this.#code[i * WORDS + 1]! & 0xffff);
    }
  }

  #fixArgument(at: number, index: number, set: ReadonlySet<number>): void {
    const slot = this.#code[at + FIRST_ARGUMENT + index * 2]!;
    if (this.#codeBytes[at * 4 + 16 + index] === SLOT && set.has(slot)) this.#argument(at, index, this.slot(slot));
  }
}
