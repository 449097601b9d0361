/** The names in the directories that are being read, sorted by their bytes. */
import type { NativeAddon } from '../../../native';
import { errnoName, errnoNumber } from '../../../syscall';
import type { ByteString } from '../codec/bytes';

/** Which of two directories, one laid over the other, has a name. */
export type Side = 'over' | 'under' | 'both';

/** The names of what is packed as one directory. */
export interface Names {
  readonly length: number;
  /** Index of the name's place in {@link NameStack.places}; names of one side that follow each other have indexes that do. */
  stackIndex(index: number): number;
  name(index: number): ByteString;
  /** Puts the name's bytes there, with a NUL behind them. @returns how many they are. */
  copyName(index: number, into: Uint8Array, at: number): number;
  /** DT_*, what the filesystem says about its type; of a name that both sides have, in the upper one. */
  type(index: number): number;
  side(index: number): Side;
  /** Forgets these names and all that came after them. */
  release(): void;
}

const FIRST_PLACES = 4096;
const FIRST_ROOM = 1 << 17;
/** Address space, not memory: of more names there is no list. */
const MOST_ROOM = 1 << 30;
const MOST_PLACES = MOST_ROOM / 16;
/** Of a name: its type and its length, in front of its bytes. Behind them is a NUL. */
const PREFIX = 2;
const NONE = 0xffffffff;
const EOVERFLOW = errnoNumber('EOVERFLOW');

/** What is needed of the native addon. */
export type NamesReader = Pick<NativeAddon, 'readNames'>;

/**
 * Names as bytes and numbers in memory that is used again: directories are left in the opposite order of that in which they are
 * entered. One of them may have a million names, a tree a million directories, and what V8 is told of garbage in buffers comes late.
 */
export class NameStack {
  readonly #runner: NamesReader;
  /** For each name its DT_*, its length, its bytes, and a NUL. What grows in place leaves nothing behind for V8 to collect. */
  #bytes = Buffer.from(new ArrayBuffer(FIRST_ROOM, { maxByteLength: MOST_ROOM }));
  /** Where each name lies. Of merged directories also indexes of names. */
  #places = new Uint32Array(new ArrayBuffer(4 * FIRST_PLACES, { maxByteLength: 4 * MOST_PLACES }));
  /** How much of both is in use. */
  readonly #used = new Uint32Array(2);

  constructor(runner: NamesReader) {
    this.#runner = runner;
  }

  /** What the addon reads of names: both are others once another directory has been read. */
  get bytes(): Buffer {
    return this.#bytes;
  }
  get places(): Uint32Array {
    return this.#places;
  }
  /** How much of both is in use, which the addon advances. */
  get used(): Uint32Array {
    return this.#used;
  }

  /** Names that the addon has read, when so much was in use. */
  listing(mark: Mark, length: number): Listing {
    return new Listing(this, mark, length);
  }

  empty(): Listing {
    return this.listing({ bytes: this.#used[BYTES]!, places: this.#used[PLACES]! }, 0);
  }

  /** Reads a directory from its beginning. @returns the errno when that fails. */
  read(fd: number): Listing | string {
    const mark: Mark = { bytes: this.#used[BYTES]!, places: this.#used[PLACES]! };
    for (;;) {
      const errno = this.#runner.readNames(fd, this.#bytes, this.#places, this.#used);
      if (errno === 0) return new Listing(this, mark, this.#used[PLACES]! - mark.places);
      if (errno !== EOVERFLOW) return errnoName(errno);
      this.#bytes = Buffer.from(grown(this.#bytes.buffer));
      this.#places = new Uint32Array(grown(this.#places.buffer));
    }
  }

  /** What two directories, the last ones that were read, are together when one lies over the other. */
  merge(over: Listing, under: Listing): MergedListing {
    const first = this.#used[PLACES]!;
    for (let i = 0, j = 0; i < over.length || j < under.length;) {
      const order = i === over.length ? 1 : j === under.length ? -1 : this.#compare(over.place(i), under.place(j));
      this.#push(order <= 0 ? i++ : NONE);
      this.#push(order >= 0 ? j++ : NONE);
    }
    return new MergedListing(this, first, (this.#used[PLACES]! - first) / 2, over, under);
  }

  /** The number at an index of the stack. */
  place(index: number): number {
    return this.#places[index]!;
  }

  release({ bytes, places }: Mark): void {
    this.#used[BYTES] = bytes;
    this.#used[PLACES] = places;
  }

  #push(place: number): void {
    if (this.#used[PLACES] === this.#places.length) this.#places = new Uint32Array(grown(this.#places.buffer));
    this.#places[this.#used[PLACES]!++] = place;
  }

  #compare(a: number, b: number): number {
    const bytes = this.#bytes;
    const lengthA = bytes[a + 1]!;
    const lengthB = bytes[b + 1]!;
    const common = lengthA < lengthB ? lengthA : lengthB;
    for (let i = PREFIX; i < common + PREFIX; i++) {
      const difference = bytes[a + i]! - bytes[b + i]!;
      if (difference !== 0) return difference;
    }
    return lengthA - lengthB;
  }
}

/** How much of the stack was in use. */
export interface Mark {
  readonly bytes: number;
  readonly places: number;
}

const BYTES = 0;
const PLACES = 1;

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
    return this.#stack.place(this.#mark.places + index);
  }

  stackIndex(index: number): number {
    return this.#mark.places + index;
  }

  name(index: number): ByteString {
    const start = this.place(index) + PREFIX;
    const { bytes } = this.#stack;
    return bytes.toString('latin1', start, start + bytes[start - 1]!) as ByteString;
  }

  copyName(index: number, into: Uint8Array, at: number): number {
    const start = this.place(index) + PREFIX;
    const { bytes } = this.#stack;
    const length = bytes[start - 1]!;
    for (let i = 0; i <= length; i++) into[at + i] = bytes[start + i]!;
    return length;
  }

  type(index: number): number {
    return this.#stack.bytes[this.place(index)]!;
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

  stackIndex(index: number): number {
    const i = this.#inOver(index);
    return i === NONE ? this.#under.stackIndex(this.#inUnder(index)) : this.#over.stackIndex(i);
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

/** @throws RangeError when there is no more address space for it. */
function grown(buffer: ArrayBuffer): ArrayBuffer {
  buffer.resize(2 * buffer.byteLength);
  return buffer;
}
