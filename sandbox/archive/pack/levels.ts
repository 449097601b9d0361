/**
 * The directories between the root and where the packing is. Only the deepest are kept open: a tree can be deeper than a
 * process may have fds, and the way back up leads through `..`.
 */
import { closeSync } from 'node:fs';
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { Batch, type SyscallRunner } from '../io/batch';
import { allocHow, allocStatx, fileKey, openat2, statx } from '../io/calls';
import type { Names } from './listing';

/** A directory that is being read. */
export interface OpenDirectory {
  fd: number;
  /** Which directory it is, from when its fd was given up. */
  key?: string;
}

export interface Level {
  /** `./a/`. */
  readonly name: ByteString;
  readonly over: OpenDirectory;
  /** The directory of the shared layer that this one lies over, if there is one. */
  readonly under: OpenDirectory | undefined;
  /** Nothing of the image shows here: the directory or one above it is opaque. */
  readonly opaque: boolean;
  readonly listing: Names;
  /** Index of the next name to look at. */
  next: number;
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

  /** Components of the name of the directory that is being read; -1 before the first. */
  get depth(): number {
    return this.#levels.length - 1;
  }

  /** Takes over the fds. The names before `next` have been dealt with. */
  enter(level: Omit<Level, 'next'>, next = 0): void {
    this.#levels.push({ ...level, next });
    if (this.#levels.length - this.#closed <= MAX_OPEN) return;
    const { over, under } = this.#levels[this.#closed]!;
    // What lies below two directories leads back up to one of them only.
    if (!under) {
      over.key = this.#keyOf(over.fd);
      this.#close(over);
    }
    this.#closed++;
  }

  /**
   * Leaves the deepest directory. @returns false when the one above is not the one it was in before, in a container that runs on:
   * then all directories above it that are not open are left too.
   */
  leave(): boolean {
    const left = this.#levels.pop()!;
    left.listing.release();
    const above = this.top;
    this.#closed = Math.max(0, Math.min(this.#closed, this.#levels.length - 1));
    if (!above || above.over.fd >= 0) {
      this.#closeLevel(left);
      return true;
    }
    const fd = this.#openParent(left.over.fd);
    this.#closeLevel(left);
    above.over.fd = fd;
    if (fd >= 0 && this.#keyOf(fd) === above.over.key) return true;
    this.closeAll();
    return false;
  }

  closeAll(): void {
    for (const level of this.#levels) this.#closeLevel(level);
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

  #closeLevel(level: Level): void {
    this.#close(level.over);
    if (level.under) this.#close(level.under);
  }

  #close(directory: OpenDirectory): void {
    if (directory.fd < 0) return;
    closeSync(directory.fd);
    directory.fd = -1;
  }
}
