/** The names in the directories that are being read, sorted by their bytes. */
import type { ByteString } from '../codec/bytes';
import type { Batch } from '../io/batch';
import { getdents } from '../io/calls';
import { forEachDirent } from '../io/dirents';

/** Which of two directories, one laid over the other, has a name. */
export type Side = 'over' | 'under' | 'both';

/** The names of what is packed as one directory. */
export interface Names {
  readonly length: number;
  name(index: number): ByteString;
  /** Puts the name's bytes there, with a NUL behind them. @returns how many they are. */
  copyName(index: number, into: Uint8Array, at: number): number;
  /** DT_*, what the filesystem says about its type; of a name that both sides have, in the upper one. */
  type(index: number): number;
  side(index: number): Side;
  /** Forgets these names and all that came after them. */
  release(): void;
}

/** A block of names, and what is asked of the kernel at once. */
const BLOCK_BITS = 16;
const BLOCK_ROOM = 1 << BLOCK_BITS;
/** As many as there are numbers for. */
const MOST_BLOCKS = 2 ** (32 - BLOCK_BITS);
const FIRST_PLACES = 1024;
/** Of a name: its type and its length, in front of its bytes. */
const PREFIX = 2;
const NONE = 0xffffffff;

/**
 * Names as bytes and numbers in memory that is used again: directories are left in the opposite order of that in which they are
 * entered. One of them may have a million names, a tree a million directories, and what V8 is told of garbage in buffers comes late.
 */
export class NameStack {
  /** For each name its DT_*, its length, and its bytes. None lies in two blocks. */
  readonly #blocks: Buffer[] = [];
  /** How many blocks are in use, and how much of the last one. */
  #block = 0;
  #used = BLOCK_ROOM;
  /** Where each name lies: the number of its block, and where in it. Of merged directories also indexes of names. */
  #places = new Uint32Array(FIRST_PLACES);
  #count = 0;
  /** For sorting. */
  #scratch = new Uint32Array(FIRST_PLACES);

  /** Reads a directory from its beginning. @returns the errno when that fails. */
  read(batch: Batch, fd: number): Listing | string {
    const mark = this.#mark();
    for (;;) {
      batch.clear();
      const result = batch.newSlot();
      const at = batch.space(BLOCK_ROOM);
      getdents(batch, result, fd, at, BLOCK_ROOM);
      const failure = batch.run();
      if (failure) return failure.errno;
      const length = batch.slot(result);
      if (length === 0) break;
      forEachDirent(batch.image, at, length, (start, end, type) => this.#add(batch.image, start, end, type));
    }
    this.#sort(mark.count);
    return new Listing(this, mark, this.#count - mark.count);
  }

  /** What two directories, the last ones that were read, are together when one lies over the other. */
  merge(over: Listing, under: Listing): MergedListing {
    const first = this.#count;
    for (let i = 0, j = 0; i < over.length || j < under.length;) {
      const order = i === over.length ? 1 : j === under.length ? -1 : this.#compare(over.place(i), under.place(j));
      this.#push(order <= 0 ? i++ : NONE);
      this.#push(order >= 0 ? j++ : NONE);
    }
    return new MergedListing(this, first, (this.#count - first) / 2, over, under);
  }

  /** The number at an index of the stack. */
  place(index: number): number {
    return this.#places[index]!;
  }

  block(place: number): Buffer {
    return this.#blocks[place >>> BLOCK_BITS]!;
  }

  release({ block, used, count }: Mark): void {
    this.#block = block;
    this.#used = used;
    this.#count = count;
  }

  #mark(): Mark {
    return { block: this.#block, used: this.#used, count: this.#count };
  }

  #add(from: Buffer, start: number, end: number, type: number): void {
    if (this.#used + PREFIX + end - start > BLOCK_ROOM) this.#nextBlock();
    const block = this.#blocks[this.#block - 1]!;
    let at = this.#used;
    this.#push((this.#block - 1) * BLOCK_ROOM + at);
    block[at++] = type;
    block[at++] = end - start;
    for (let i = start; i < end; i++) block[at++] = from[i]!;
    this.#used = at;
  }

  #nextBlock(): void {
    if (this.#block === MOST_BLOCKS) throw new RangeError('a directory has more names than can be sorted');
    if (this.#block === this.#blocks.length) this.#blocks.push(Buffer.allocUnsafeSlow(BLOCK_ROOM));
    this.#block++;
    this.#used = 0;
  }

  #push(place: number): void {
    if (this.#count === this.#places.length) this.#places = grown(this.#places, this.#count + (this.#count >> 1));
    this.#places[this.#count++] = place;
  }

  /** By merging in typed arrays: Array.prototype.sort and its like make objects of a million numbers. */
  #sort(first: number): void {
    const count = this.#count - first;
    if (count < 2) return;
    if (this.#scratch.length < count) this.#scratch = new Uint32Array(count);
    const places = this.#places.subarray(first, this.#count);
    let [from, to]: [Uint32Array, Uint32Array] = [places, this.#scratch];
    for (let width = 1; width < count; width *= 2) {
      for (let start = 0; start < count; start += 2 * width) this.#mergeRuns(from, to, start, width, count);
      [from, to] = [to, from];
    }
    if (from !== places) places.set(from.subarray(0, count));
  }

  #mergeRuns(from: Uint32Array, to: Uint32Array, start: number, width: number, count: number): void {
    const middle = Math.min(start + width, count);
    const end = Math.min(start + 2 * width, count);
    let left = start;
    let right = middle;
    for (let i = start; i < end; i++) {
      const takeLeft = left < middle && (right >= end || this.#compare(from[left]!, from[right]!) <= 0);
      to[i] = from[takeLeft ? left++ : right++]!;
    }
  }

  #compare(a: number, b: number): number {
    const blockA = this.block(a);
    const blockB = this.block(b);
    const startA = startOf(a);
    const startB = startOf(b);
    const lengthA = blockA[startA + 1]!;
    const lengthB = blockB[startB + 1]!;
    const common = lengthA < lengthB ? lengthA : lengthB;
    for (let i = PREFIX; i < common + PREFIX; i++) {
      const difference = blockA[startA + i]! - blockB[startB + i]!;
      if (difference !== 0) return difference;
    }
    return lengthA - lengthB;
  }
}

/** How much of the stack was in use. */
interface Mark {
  readonly block: number;
  readonly used: number;
  readonly count: number;
}

/** The names of one directory. */
export class Listing implements Names {
  readonly #stack: NameStack;
  readonly #mark: Mark;

  constructor(
    stack: NameStack,
    mark: Mark,
    readonly length: number,
  ) {
    this.#stack = stack;
    this.#mark = mark;
  }

  place(index: number): number {
    return this.#stack.place(this.#mark.count + index);
  }

  name(index: number): ByteString {
    const place = this.place(index);
    const block = this.#stack.block(place);
    const start = startOf(place) + PREFIX;
    return block.toString('latin1', start, start + block[start - 1]!) as ByteString;
  }

  copyName(index: number, into: Uint8Array, at: number): number {
    const place = this.place(index);
    const block = this.#stack.block(place);
    const start = startOf(place) + PREFIX;
    const length = block[start - 1]!;
    for (let i = 0; i < length; i++) into[at + i] = block[start + i]!;
    into[at + length] = 0;
    return length;
  }

  type(index: number): number {
    const place = this.place(index);
    return this.#stack.block(place)[startOf(place)]!;
  }

  side(): Side {
    return 'over';
  }

  release(): void {
    this.#stack.release(this.#mark);
  }
}

/** The names of two directories, one laid over the other. */
export class MergedListing implements Names {
  readonly #stack: NameStack;
  readonly #first: number;
  readonly #over: Listing;
  readonly #under: Listing;

  /** From `first` on there are two indexes for each name, in the upper listing and in the lower one. */
  constructor(
    stack: NameStack,
    first: number,
    readonly length: number,
    over: Listing,
    under: Listing,
  ) {
    this.#stack = stack;
    this.#first = first;
    this.#over = over;
    this.#under = under;
  }

  name(index: number): ByteString {
    const i = this.#inOver(index);
    return i === NONE ? this.#under.name(this.#inUnder(index)) : this.#over.name(i);
  }

  copyName(index: number, into: Uint8Array, at: number): number {
    const i = this.#inOver(index);
    return i === NONE ? this.#under.copyName(this.#inUnder(index), into, at) : this.#over.copyName(i, into, at);
  }

  type(index: number): number {
    const i = this.#inOver(index);
    return i === NONE ? this.#under.type(this.#inUnder(index)) : this.#over.type(i);
  }

  side(index: number): Side {
    return this.#inOver(index) === NONE ? 'under' : this.#inUnder(index) === NONE ? 'over' : 'both';
  }

  release(): void {
    this.#over.release();
  }

  #inOver(index: number): number {
    return this.#stack.place(this.#first + 2 * index);
  }

  #inUnder(index: number): number {
    return this.#stack.place(this.#first + 2 * index + 1);
  }
}

const startOf = (place: number): number => place & (BLOCK_ROOM - 1);

function grown(array: Uint32Array<ArrayBuffer>, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(array);
  return larger;
}
