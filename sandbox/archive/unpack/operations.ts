/** The calls that an unpacking still has to make, in batches, and what to do when one of them fails. */
import { C } from '../../../syscall';
import { Batch, type Failure, slotOf, type SyscallRunner } from '../io/batch';
import { allocHow, close } from '../io/calls';
import { entryFailure, type Place } from '../faults';

/** Says at which call to go on after a failure was dealt with; `undefined`: it was not. */
export type Recover = (failure: Failure) => number | undefined;

interface Group {
  readonly start: number;
  readonly place: Place;
  readonly recover: Recover | undefined;
}

const UPPER_FILE = C.O_WRONLY | C.O_CREAT | C.O_EXCL;

export class Operations {
  /** What is done when it is full. Calls of one entry follow each other; entries keep their order. */
  readonly batch: Batch;
  /** For what must be done at once, also while the batch runs. Cleared before each use. */
  readonly #aside: Batch;
  readonly #groups: Group[] = [];
  readonly #files: { readonly opened: number; readonly closed: number }[] = [];
  #openFile = -1;
  #ran: ((from: number, to: number) => void) | undefined;

  /** The slot for whichever file is being written, and that slot as an argument. */
  readonly fileSlot: number;
  readonly file: number;
  /** open_hows in the image: a new file, a directory, a fifo. */
  readonly newFile: number;
  readonly directory: number;
  readonly fifo: number;

  constructor(runner: SyscallRunner) {
    this.batch = new Batch(runner);
    this.#aside = new Batch(runner, { imageSize: 160 << 10, maxCalls: 512 });
    this.fileSlot = this.batch.newSlot();
    this.file = slotOf(this.fileSlot);
    this.newFile = allocHow(this.batch, UPPER_FILE, 0o600);
    this.directory = allocHow(this.batch, C.O_RDONLY | C.O_DIRECTORY);
    this.fifo = allocHow(this.batch, C.O_RDONLY | C.O_NONBLOCK);
    this.batch.keep();
  }

  /** Called after each run with the range of calls that succeeded; the batch's slots still hold their results. */
  onRan(callback: (from: number, to: number) => void): void {
    this.#ran = callback;
  }

  /** Makes room, if need be by making the calls that are there. */
  reserve(calls: number, bytes: number, slots = 0): void {
    if (!this.batch.hasRoom(calls, bytes, slots)) this.flush();
  }

  /** The calls that follow are for this entry. @returns the index of the next call. */
  begin(place: Place, recover?: Recover): number {
    const start = this.batch.calls;
    this.#groups.push({ start, place, recover });
    return start;
  }

  /** The file slot's fd is made by call `opened` and closed by call `closed`. */
  hasFile(opened: number, closed: number): void {
    this.#files.push({ opened, closed });
  }

  /** Makes all calls. @throws SiltError for the first that fails and cannot be recovered from. */
  flush(): void {
    const { batch } = this;
    for (let from = 0; from < batch.calls;) {
      const failure = batch.run(from);
      this.#ran?.(from, failure?.index ?? batch.calls);
      if (!failure) break;
      this.#rememberFile(from, failure.index);
      const group = this.#groupOf(failure.index);
      const next = group.recover?.(failure);
      if (next === undefined) throw this.#failure(group, failure);
      from = next;
    }
    this.#groups.length = this.#files.length = 0;
    batch.clear();
  }

  /** {@link flush}, and the value that the last call left in a slot. */
  flushKeepingSlot(slot: number): number {
    this.flush();
    return this.batch.slot(slot);
  }

  #rememberFile(from: number, failed: number): void {
    const file = this.#files.find(({ opened, closed }) => opened < failed && failed <= closed);
    if (!file) this.#openFile = -1;
    else if (file.opened >= from) this.#openFile = this.batch.slot(this.fileSlot);
  }

  #failure(group: Group, { step, errno }: Failure): Error {
    const fd = this.#openFile;
    if (fd >= 0) this.now((batch) => close(batch, fd));
    return entryFailure(group.place, step, errno);
  }

  /** Makes a few calls at once, before those of the batch. The result is good until the next use. */
  now(build: (batch: Batch) => void): { failure: Failure | undefined; batch: Batch } {
    this.#aside.clear();
    build(this.#aside);
    return { failure: this.#aside.run(), batch: this.#aside };
  }

  #groupOf(index: number): Group {
    let low = 0;
    for (let high = this.#groups.length - 1; low < high;) {
      const middle = (low + high + 1) >> 1;
      if (this.#groups[middle]!.start <= index) low = middle;
      else high = middle - 1;
    }
    return this.#groups[low]!;
  }
}
