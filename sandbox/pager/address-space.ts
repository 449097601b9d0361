/** What of one process's memory is still to come. */
import type { PageRun } from '../checkpoint-image/pagemap';

/** A part of memory whose contents lie in the file from `offset` on. */
export type Piece = Pick<PageRun, 'start' | 'end' | 'offset'>;

/**
 * The parts of an address space whose contents have not been brought yet. It follows what the process does with its memory;
 * whatever is in none of the parts is as the kernel has it, and empty where nothing is.
 */
export class AddressSpace {
  /** The highest address first: mostly the lowest one is taken away, and at the end of an array that costs nothing. */
  readonly #pieces: Piece[];

  constructor(pieces: readonly Piece[]) {
    this.#pieces = [...pieces].sort((a, b) => b.start - a.start);
  }

  /** In order of their addresses. */
  get pieces(): readonly Piece[] {
    return [...this.#pieces].reverse();
  }

  get isComplete(): boolean {
    return this.#pieces.length === 0;
  }

  /** What a child starts with. */
  copy(): AddressSpace {
    return new AddressSpace(this.#pieces);
  }

  /** The first `size` bytes, or less, that are missing. */
  first(size: number): Piece | undefined {
    const piece = this.#pieces.at(-1);
    return piece && { ...piece, end: Math.min(piece.end, piece.start + size) };
  }

  /** What is missing in that part of memory, aligned to its `size`, in which the address is; undefined when the address is not missing. */
  around(address: number, size: number): Piece | undefined {
    const piece = this.#pieces[this.#firstFrom(address)];
    if (piece === undefined || piece.end <= address) return undefined;
    const from = address - (address % size);
    return part(piece, Math.max(piece.start, from), Math.min(piece.end, from + size));
  }

  /** The contents of a range have been brought, or are no longer wanted. */
  drop(start: number, end: number): void {
    this.#take(start, end);
  }

  /** mremap(2) has moved a range. */
  move(from: number, to: number, size: number): void {
    const moved = this.#take(from, from + size);
    this.#take(to, to + size);
    const there = moved.map((piece) => ({ ...piece, start: piece.start - from + to, end: piece.end - from + to }));
    this.#pieces.splice(this.#firstFrom(to + size), 0, ...there);
  }

  /** Takes a range out, and returns what was missing of it. */
  #take(start: number, end: number): Piece[] {
    const first = this.#firstFrom(end - 1);
    let behind = first;
    while (behind < this.#pieces.length && this.#pieces[behind]!.end > start) behind++;
    const taken = this.#pieces.slice(first, behind);
    const rest = taken
      .flatMap((piece) => [part(piece, end, piece.end), part(piece, piece.start, start)])
      .filter((piece) => piece.start < piece.end);
    this.#pieces.splice(first, behind - first, ...rest);
    return taken.map((piece) => part(piece, Math.max(piece.start, start), Math.min(piece.end, end)));
  }

  /** Index of the first piece, from the highest on, that starts at the address or below. */
  #firstFrom(address: number): number {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#pieces[middle]!.start > address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function part(piece: Piece, start: number, end: number): Piece {
  return { start, end, offset: piece.offset + start - piece.start };
}
