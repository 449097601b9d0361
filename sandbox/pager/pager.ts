/** Brings the memory of restored processes, what they wait for first. */
import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { WatchHandle } from '../../native';
import type { Kernel } from '../../syscall';
import { AddressSpace, type Piece } from './address-space';
import { PAGE } from '../checkpoint-image/pagemap';
import { Bringer, type MemoryEvent, readEvent } from './userfault';
import type { VerifiedFile } from './verified-file';

/** How much is brought at once: with a page that somebody waits for, and when nobody waits. */
const AROUND = 256 << 10;
const IN_TURN = 1 << 20;
const READABLE = 1;
/** How often it is tried to get memory for a page, and how long it is waited in between: the OOM killer may be at work. */
const TRIES = 500;
const PAUSE_MS = 10;

/** A process whose memory is not complete. */
interface Task {
  /** Its userfaultfd. */
  readonly fd: number;
  readonly space: AddressSpace;
  readonly file: VerifiedFile;
  /** Addresses that it waits for. */
  readonly wanted: Set<number>;
  readonly watch: WatchHandle;
}

export interface PagerOptions {
  /** Called with every userfaultfd before it is used; see programs/page.ts. */
  readonly hold: (fd: number) => void;
  /** Nothing is missing any more. */
  readonly onComplete: () => void;
  /** A checkpoint that is damaged, or what the kernel refuses: nothing can be brought any more. */
  readonly onFailure: (error: unknown) => void;
}

/** Everything runs in one thread and one event loop: what a process does with its memory and what is brought are in one order. */
export class Pager {
  readonly #tasks = new Set<Task>();
  readonly #bringer: Bringer;
  #failedTries = 0;

  constructor(
    private readonly kernel: Kernel,
    private readonly options: PagerOptions,
  ) {
    this.#bringer = new Bringer(kernel.runner, IN_TURN);
  }

  /** A process whose memory is to be brought. Keeps `fd`, its userfaultfd. */
  add(fd: number, pieces: readonly Piece[], file: VerifiedFile): void {
    this.#add(fd, new AddressSpace(pieces), file);
  }

  /** All processes are there: from now on what nobody waits for is brought, too. */
  start(): void {
    setImmediate(() => this.#guard(() => this.#turn()));
  }

  #add(fd: number, space: AddressSpace, file: VerifiedFile): void {
    this.options.hold(fd);
    const watch = this.kernel.watch(fd, READABLE, (_, error) => {
      this.#guard(() => (error === 0 ? this.#listen(task) : this.#gone(task)));
    });
    const task: Task = { fd, space, file, wanted: new Set(), watch };
    this.#tasks.add(task);
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.options.onFailure(error);
    }
  }

  #listen(task: Task): void {
    for (let event = readEvent(task.fd); event !== undefined; event = readEvent(task.fd)) this.#on(task, event);
    this.#serve(task);
  }

  #on(task: Task, event: MemoryEvent): void {
    const { space, wanted } = task;
    if (event.kind === 'fault') wanted.add(event.address - (event.address % PAGE));
    else if (event.kind === 'drop') space.drop(event.start, event.end);
    else if (event.kind === 'move') space.move(event.from, event.to, event.size);
    else if (space.isComplete) closeSync(event.fd);
    else this.#add(event.fd, space.copy(), task.file);
  }

  /** Brings what the process waits for, as far as that is possible now. */
  #serve(task: Task): void {
    for (const address of task.wanted) {
      if (!this.#bringPage(task, address)) return;
      task.wanted.delete(address);
    }
  }

  /** @returns false when it is to be tried again. */
  #bringPage(task: Task, address: number): boolean {
    for (;;) {
      if (!this.#tasks.has(task)) return true;
      const piece = task.space.around(address, AROUND);
      if (piece === undefined) break;
      if (!this.#bring(task, piece)) return false;
    }
    // Nothing is missing there, but somebody waits: it is empty, or was brought meanwhile.
    const { errno = '' } = this.#bringer.zero(task.fd, address, PAGE);
    if (['EAGAIN', 'ENOMEM'].includes(errno)) return false;
    if (errno === 'ESRCH') this.#gone(task);
    else if (errno !== '') this.#bringer.wake(task.fd, address, PAGE);
    return true;
  }

  /** Brings a first part of a piece, or finds that there is nothing to be brought. @returns false when it is to be tried again. */
  #bring(task: Task, { start, end, offset }: Piece): boolean {
    let bytes = task.file.read(offset, Math.min(end - start, IN_TURN));
    let brought = this.#bringer.copy(task.fd, start, bytes);
    // It reaches beyond a mapping: what is brought at once must lie in one.
    while (brought.errno === 'ENOENT' && bytes.length > PAGE) {
      bytes = bytes.subarray(0, Math.ceil(bytes.length / PAGE / 2) * PAGE);
      brought = this.#bringer.copy(task.fd, start, bytes);
    }
    if (brought.bytes > 0) {
      task.space.drop(start, start + brought.bytes);
      this.#failedTries = 0;
      return true;
    }
    const { errno = '' } = brought;
    if (errno === 'EAGAIN' || (errno === 'ENOMEM' && ++this.#failedTries < TRIES)) return false;
    if (errno === 'ESRCH') this.#gone(task);
    else if (errno === 'EEXIST' || errno === 'ENOENT') {
      // Something is there already, or there is no such memory any more.
      task.space.drop(start, start + PAGE);
      this.#bringer.wake(task.fd, start, PAGE);
    } else {
      const message = `cannot bring the memory of a restored process: ${errno}`;
      throw new SiltError('SYSCALL_FAILED', message, { syscall: 'ioctl', errno });
    }
    return true;
  }

  /** One process after the other, so that those that have ended are found soon. */
  #turn(): void {
    for (const task of [...this.#tasks]) this.#serve(task);
    const task = [...this.#tasks].find(({ space }) => !space.isComplete);
    if (task === undefined) {
      this.options.onComplete();
      return;
    }
    this.#tasks.delete(task);
    this.#tasks.add(task);
    const piece = task.space.first(IN_TURN);
    if (piece !== undefined) this.#bring(task, piece);
    if (this.#failedTries > 0) setTimeout(() => this.#guard(() => this.#turn()), PAUSE_MS);
    else setImmediate(() => this.#guard(() => this.#turn()));
  }

  #gone(task: Task): void {
    if (!this.#tasks.delete(task)) return;
    task.watch.close();
    closeSync(task.fd);
  }
}
