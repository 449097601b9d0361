/**
 * Syscall programs for many files at once (docs/syscall-programs.md), laid out straight in memory that is used again.
 *
 * `ProgramBuilder` makes an object of every argument, so that programs can be printed; here a program has hundreds of
 * calls, is thrown away after one run, and building it that way would cost more than running it.
 */
import { errnoName, hostArch, syscallNumbers } from '../../../syscall';

/** What archives need of the native addon: programs run in place. */
export interface SyscallRunner {
  /** On this thread. @returns -1, or the index of the failed instruction * 4096 + its errno. */
  run(program: Uint8Array, slots: BigInt64Array): number;
  /** On another thread, if that has nothing else to do. @returns whether it was taken; then `finish` must follow. */
  start(program: Uint8Array, slots: BigInt64Array): boolean;
  /** Waits for what was started. @returns what `run` does. */
  finish(): number;
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

// The kinds of argument in the format, below all numbers that calls are given: small integers, so that an argument is never an object.
const KINDS = -(2 ** 31);
const KIND_BITS = 27;
const IMMEDIATES = KINDS + 5 * 2 ** KIND_BITS;
const VALUE = 2 ** KIND_BITS - 1;
const SLOT = 2;
const SMALL = 2 ** 31;

/** Shows that a call's result is not kept. */
export const NOWHERE = -1;

/** The address of an offset in the image. */
export const addressOf = (offset: number): Arg => KINDS + (1 << KIND_BITS) + offset;
/** The value of a slot. */
export const slotOf = (slot: number): Arg => KINDS + (SLOT << KIND_BITS) + slot;
/** The 64-bit number that stands in the image when the call is made. */
export const word64At = (offset: number): Arg => KINDS + 4 * 2 ** KIND_BITS + offset;

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
  readonly #slotHalves = new Int32Array(this.#slots.buffer);
  readonly #steps: string[] = [];
  #step = '';
  /** What the program's calls write to and read from; offsets are those that {@link space} gives. */
  readonly image: Buffer;
  /** The same, in words of 32 bits. */
  readonly words: Int32Array;
  #calls = 0;
  #used = 0;
  #slotsUsed = 0;
  #keptImage = 0;
  #keptSlots = 0;
  #started = false;
  #outcome = -1;

  constructor(runner: SyscallRunner, { imageSize = 1 << 20, maxCalls = 1024 } = {}) {
    this.#runner = runner;
    this.#maxCalls = maxCalls;
    this.#imageAt = HEADER + maxCalls * INSTRUCTION;
    this.#memory = Buffer.alloc(this.#imageAt + imageSize);
    this.image = this.#memory.subarray(this.#imageAt);
    this.words = new Int32Array(this.image.buffer, this.image.byteOffset, imageSize >> 2);
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
    const low = this.#slotHalves[2 * slot]!;
    const high = this.#slotHalves[2 * slot + 1]!;
    return high === low >> 31 ? low : high * 2 ** 32 + (low >>> 0);
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

  /** A copy of a part of the data in the image. */
  part(data: Buffer, from: number, length: number): number {
    const at = this.space(length);
    data.copy(this.image, at, from, from + length);
    return at;
  }

  /** A byte string in the image, with a NUL behind it. */
  string(text: string): number {
    const at = this.space(text.length + 1);
    const { image } = this;
    for (let i = 0; i < text.length; i++) image[at + i] = text.charCodeAt(i);
    image[at + text.length] = 0;
    return at;
  }

  /** Writes a number, up to 2^53 and also negative, as 64 bits, at a multiple of four. */
  setWord64(at: number, value: number): void {
    this.words[at >> 2] = value | 0;
    this.words[(at >> 2) + 1] = Math.floor(value / 2 ** 32);
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
    code[at + 2] = code[at + 3] = 0;
    const first = FIRST_ARGUMENT + at;
    code[at + 4] =
      this.#argument(first, a0) |
      (this.#argument(first + 2, a1) << 8) |
      (this.#argument(first + 4, a2) << 16) |
      (this.#argument(first + 6, a3) << 24);
    code[at + 5] = this.#argument(first + 8, a4) | (this.#argument(first + 10, a5) << 8);
    this.#steps[this.#calls] = this.#step;
    return this.#calls++;
  }

  /** Writes an argument. @returns its kind. */
  #argument(at: number, arg: Arg): number {
    const code = this.#code;
    if (arg < IMMEDIATES) {
      code[at] = arg & VALUE;
      code[at + 1] = 0;
      return (arg - KINDS) >> KIND_BITS;
    }
    code[at] = arg | 0;
    code[at + 1] = arg < SMALL ? arg >> 31 : Math.floor(arg / 2 ** 32);
    return 0;
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
    if (this.#calls <= from) return undefined;
    return this.#settle(from, this.#runner.run(this.#program(from), this.#slots));
  }

  /** Begins to make all calls, on another thread if there is one. Until {@link finish} nothing else may be done with the batch. */
  start(): void {
    if (this.#calls === 0) return;
    const program = this.#program(0);
    this.#started = this.#runner.start(program, this.#slots);
    if (!this.#started) this.#outcome = this.#runner.run(program, this.#slots);
  }

  /** Waits for the calls that {@link start} began, and gives what {@link run} would. */
  finish(): Failure | undefined {
    if (this.#calls === 0) return undefined;
    return this.#settle(0, this.#started ? this.#runner.finish() : this.#outcome);
  }

  /** The calls from one on, as the interpreter takes them. */
  #program(from: number): Buffer {
    const count = this.#calls - from;
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
    return memory.subarray(start, start + size);
  }

  #settle(from: number, outcome: number): Failure | undefined {
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
    if (this.#codeBytes[at * 4 + 16 + index] !== SLOT || !set.has(slot)) return;
    this.#codeBytes[at * 4 + 16 + index] = this.#argument(at + FIRST_ARGUMENT + index * 2, this.slot(slot));
  }
}
