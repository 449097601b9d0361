/**
 * The calls that an unpacking still has to make, in batches, and what to do when one of them fails. While one batch runs, on another
 * thread, the next one is filled.
 */
import { C } from '../../../syscall';
import { type Arg, Batch, type Failure, slotOf, type SyscallRunner } from '../io/batch';
import { allocHow, close } from '../io/calls';
import { entryFailure, type Place } from '../faults';

/** Says at which call to go on after a failure was dealt with; `undefined`: it was not. */
export type Recover = (failure: Failure) => number | undefined;

/** A batch, and what is to be known about its calls when one of them fails. */
interface Queue {
  readonly batch: Batch;
  /** The calls from each index on are for this entry. */
  readonly starts: number[];
  readonly places: Place[];
  /** Bytes of their names. */
  namesKept: number;
  readonly recovers: (Recover | undefined)[];
  /** Calls between which the file slot has an fd. */
  readonly opened: number[];
  readonly closed: number[];
}

const IMAGE = 1 << 20;
const CALLS = 2048;
/** Bytes of names of entries that a queue keeps in memory, besides the last one's: a name can be long. */
const KEPT_NAMES = 1 << 20;

export class Operations {
  readonly #queues: readonly [Queue, Queue];
  #filling: Queue;
  /** The queue whose calls are being made. */
  #running: Queue | undefined;
  /** For what must be done at once. Cleared before each use. */
  readonly #aside: Batch;
  #openFile = -1;

  /** The slot for whichever file is being written, and that slot as an argument. */
  readonly fileSlot: number;
  readonly file: Arg;
  /** The open_how of a fifo in the image. */
  readonly fifo: number;

  constructor(runner: SyscallRunner) {
    const queues = [newQueue(runner), newQueue(runner)] as const;
    this.#queues = queues;
    this.#filling = queues[0];
    this.#aside = new Batch(runner, { imageSize: 160 << 10, maxCalls: 512 });
    // Both batches have the same at the same places.
    const [fileSlot, fifo] = queues.map(({ batch }) => {
      const slot = batch.newSlot();
      const how = allocHow(batch, C.O_RDONLY | C.O_NONBLOCK);
      batch.keep();
      return [slot, how] as const;
    })[0]!;
    this.fileSlot = fileSlot;
    this.file = slotOf(fileSlot);
    this.fifo = fifo;
  }

  /** What is done next. Calls of one entry follow each other; entries keep their order. Another one after {@link reserve}. */
  get batch(): Batch {
    return this.#filling.batch;
  }

  /** Makes room, if need be by beginning to make the calls that are there. @returns the batch that has it. */
  reserve(calls: number, bytes: number, slots = 0): Batch {
    const { batch, namesKept } = this.#filling;
    if (namesKept > KEPT_NAMES || !batch.hasRoom(calls, bytes, slots)) this.#submit();
    return this.#filling.batch;
  }

  /** The calls that follow are for this entry. @returns the index of the next call. */
  begin(place: Place, recover?: Recover): number {
    const queue = this.#filling;
    const { batch, starts, places, recovers } = queue;
    if (places.at(-1) !== place) queue.namesKept += place.name?.length ?? 0;
    starts.push(batch.calls);
    places.push(place);
    recovers.push(recover);
    return batch.calls;
  }

  /** The file slot's fd is made by call `opened` and closed by call `closed`. */
  hasFile(opened: number, closed: number): void {
    this.#filling.opened.push(opened);
    this.#filling.closed.push(closed);
  }

  /** Makes all calls. @throws SiltError for the first that fails and cannot be recovered from. */
  flush(): void {
    this.#submit();
    this.settle();
  }

  /** {@link flush}, and the value that the last call left in a slot. */
  flushKeepingSlot(slot: number): number {
    const { batch } = this;
    this.flush();
    return batch.slot(slot);
  }

  /** Waits for the calls that are being made. */
  settle(): void {
    const queue = this.#running;
    if (!queue) return;
    this.#running = undefined;
    const { batch } = queue;
    for (let from = 0, failure = batch.finish(); ; failure = batch.run(from)) {
      if (!failure) return;
      this.#rememberFile(queue, from, failure.index);
      const group = lastNotAfter(queue.starts, failure.index);
      const next = queue.recovers[group]?.(failure);
      if (next === undefined) throw this.#failure(queue.places[group]!, failure);
      from = next;
    }
  }

  /** Makes a few calls at once, before those of the batch that is being filled. The result is good until the next use. */
  now(build: (batch: Batch) => void): { failure: Failure | undefined; batch: Batch } {
    this.settle();
    this.#aside.clear();
    build(this.#aside);
    return { failure: this.#aside.run(), batch: this.#aside };
  }

  /** Waits for what is being done, whatever comes of it: for after a failure. */
  abandon(): void {
    try {
      this.settle();
    } catch {
      // There is an earlier failure, which is the one to tell of.
    }
  }

  #submit(): void {
    this.settle();
    const queue = this.#filling;
    if (queue.batch.calls === 0) return;
    const next = queue === this.#queues[0] ? this.#queues[1] : this.#queues[0];
    clear(next);
    this.#filling = next;
    this.#running = queue;
    queue.batch.start();
  }

  #rememberFile({ batch, opened, closed }: Queue, from: number, failed: number): void {
    const i = lastNotAfter(opened, failed - 1);
    if (i < 0 || failed > closed[i]!) this.#openFile = -1;
    else if (opened[i]! >= from) this.#openFile = batch.slot(this.fileSlot);
  }

  #failure(place: Place, { step, errno }: Failure): Error {
    const fd = this.#openFile;
    if (fd >= 0) this.now((batch) => close(batch, fd));
    return entryFailure(place, step, errno);
  }
}

function newQueue(runner: SyscallRunner): Queue {
  return {
    batch: new Batch(runner, { imageSize: IMAGE, maxCalls: CALLS }),
    starts: [],
    places: [],
    namesKept: 0,
    recovers: [],
    opened: [],
    closed: [],
  };
}

function clear(queue: Queue): void {
  queue.batch.clear();
  queue.namesKept = 0;
  for (const list of [queue.starts, queue.places, queue.recovers, queue.opened, queue.closed]) list.length = 0;
}

/** Index of the last of these numbers, which ascend, that is not above the limit; -1 if there is none. */
function lastNotAfter(numbers: readonly number[], limit: number): number {
  let low = -1;
  for (let high = numbers.length - 1; low < high;) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle]! <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}
