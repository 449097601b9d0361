/**
 * Entries like most are applied by a loop in C (native/unpack-plain.h), which stops at the first that is different in any way: that one is
 * for {@link Unpacker}. Nothing of either has still to be made when the other goes on.
 */
import type { NativeAddon } from '../../../native';
import { errnoName } from '../../../syscall';
import { toByteString } from '../codec/bytes';
import { BLOCK } from '../codec/header';
import { entryFailure } from '../faults';
import type { ArchiveReader } from '../reader/reader';
import type { Unpacker } from './unpacker';

/** What is needed of the native addon. */
export type PlainRunner = Pick<NativeAddon, 'unpackPlain'>;

/** Where in a job what is. */
const JOB = { offset: 2, entries: 5, contents: 6, step: 8, errno: 9, failedAt: 10 } as const;
const STEPS = ['', 'writing its contents', 'setting its owner', 'setting its mode', 'setting its time'];
const NAME = 1027;
const NOTHING = Buffer.alloc(0);
/** Components of a name: the loop's paths have an end, too. */
const MAX_DEPTH = 512;
/** How much of an archive is applied before other things in this process have their turn. */
const PIECE = 32 << 20;
/** Beginning costs as much as so many entries do otherwise, and after it brought fewer it is not tried for a while. */
const FEW = 32;
const LONGEST_PAUSE = 256;

export class PlainEntries {
  readonly #native: PlainRunner;
  readonly #reader: ArchiveReader;
  readonly #unpacker: Unpacker;
  readonly #name = Buffer.alloc(NAME);
  /** Entries that are left to others before it is tried again, and how many were the last time. */
  #left = 0;
  #pause = 0;

  constructor(native: PlainRunner, reader: ArchiveReader, unpacker: Unpacker) {
    this.#native = native;
    this.#reader = reader;
    this.#unpacker = unpacker;
  }

  /** Applies the next entries that are like most. @returns whether the one behind them is known to be another kind. */
  apply(): boolean {
    if (this.#left > 0) {
      this.#left--;
      return true;
    }
    const ahead = this.#reader.ahead;
    if (!ahead) return true;
    const { fd, size } = this.#reader.source;
    const { offset, data, at, end } = ahead;
    const memory = fd === undefined ? data.subarray(at, end) : NOTHING;
    if (fd === undefined && memory.length < BLOCK) return true;
    const root = this.#unpacker.settle();
    const last = offset + memory.length;
    const range = fd === undefined ? [-1, offset, last, last] : [fd, offset, size!, offset + PIECE];
    const { entries, contents } = this.#reader.allowance;
    const depth = Math.min(this.#reader.maxDepth, MAX_DEPTH);
    const job = Float64Array.of(root, ...range, entries, contents, depth, 0, 0, 0);
    const nameLength = this.#native.unpackPlain(job, memory, this.#name);
    this.#noteFailure(job, nameLength);
    const taken = { entries: job[JOB.entries]!, contents: job[JOB.contents]! };
    this.#reader.take(job[JOB.offset]! - offset, taken);
    this.#pause = taken.entries >= FEW ? 0 : Math.min(Math.max(this.#pause * 2, 1), LONGEST_PAUSE);
    this.#left = this.#pause;
    return job[JOB.offset]! < range[3]!;
  }

  /** @throws SiltError for the first entry that failed, if one did. */
  #noteFailure(job: Float64Array, nameLength: number): void {
    const errno = job[JOB.errno]!;
    if (errno === 0) return;
    const place = { name: toByteString(this.#name.subarray(0, nameLength)), offset: job[JOB.failedAt]! };
    throw entryFailure(place, STEPS[job[JOB.step]!]!, errnoName(errno));
  }
}
