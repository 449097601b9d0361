/**
 * The directories between the root and where the packing is. Only the deepest are kept open: a tree can be deeper than a
 * process may have fds, and the way back up leads through `..`.
 */
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { Batch, type SyscallRunner } from '../io/batch';
import { allocHow, allocStatx, close, fileKey, openat2, statx } from '../io/calls';
import type { Listing } from './listing';

export interface Level {
  /** `./a/`. */
  readonly name: ByteString;
  fd: number;
  readonly listing: Listing;
  /** Index of the next name to look at. */
  next: number;
  /** Which directory it is, from when its fd was given up. */
  key?: string;
}

const MAX_OPEN = 32;

export class Levels {
  readonly #batch: Batch;
  readonly #levels: Level[] = [];
  /** How many levels, from the top of the tree, are closed. */
  #closed = 0;

  constructor(runner: SyscallRunner) {
    this.#batch = new Batch(runner, { imageSize: 4096, maxCalls: 8 });
  }

  get top(): Level | undefined {
    return this.#levels.at(-1);
  }

  /** Takes over the fd. */
  enter(name: ByteString, fd: number, listing: Listing): void {
    this.#levels.push({ name, fd, listing, next: 0 });
    if (this.#levels.length - this.#closed <= MAX_OPEN) return;
    const level = this.#levels[this.#closed]!;
    level.key = this.#keyOf(level.fd);
    this.#close(level);
    this.#closed++;
  }

  /**
   * Leaves the deepest directory. @returns false when the one above is not the one it was in before, in a container that runs on:
   * then all directories above it that are not open are left too.
   */
  leave(): boolean {
    const left = this.#levels.pop()!;
    const above = this.top;
    if (!above || above.fd >= 0) {
      this.#close(left);
      return true;
    }
    const fd = this.#openParent(left.fd);
    this.#close(left);
    this.#closed--;
    above.fd = fd;
    if (fd >= 0 && this.#keyOf(fd) === above.key) return true;
    this.#close(above);
    this.#levels.length = 0;
    return false;
  }

  closeAll(): void {
    for (const level of this.#levels) this.#close(level);
    this.#levels.length = 0;
  }

  #openParent(fd: number): number {
    const batch = this.#batch;
    batch.clear();
    const result = batch.newSlot();
    const how = allocHow(batch, C.O_RDONLY | C.O_DIRECTORY);
    // The one step that leads upwards, so not beneath.
    batch.setWord64(how + 16, C.RESOLVE_NO_XDEV);
    openat2(batch, result, fd, batch.string('..'), how);
    return batch.run() ? -1 : batch.slot(result);
  }

  #keyOf(fd: number): string {
    const batch = this.#batch;
    batch.clear();
    const at = allocStatx(batch);
    statx(batch, batch.newSlot(), fd, batch.string(''), at);
    return batch.run() ? '' : fileKey(batch.image, at);
  }

  #close(level: Level): void {
    if (level.fd < 0) return;
    this.#batch.clear();
    close(this.#batch, level.fd);
    this.#batch.run();
    level.fd = -1;
  }
}
