/**
 * Files that are like most, and their headers, which the addon reads and writes (native/plain-files.h): with a million files every
 * call from here, and every number taken apart here, costs more than reading them; and a short run is over before V8 has compiled
 * what would do it.
 */
import type { NativeAddon } from '../../../native';
import type { ByteString } from '../codec/bytes';
import { BLOCK } from '../codec/header';
import type { OutEntry } from './headers';
import type { IdMaps, IdRange } from './ids';
import type { Names, NameStack } from './listing';
import type { Output } from './output';

/** What is needed of the native addon. */
export type PlainRunner = Pick<NativeAddon, 'plainFiles' | 'plainDirectory' | 'plainHeaders'>;

/** Contents up to this size are read by the addon. */
const LARGEST = 128 << 10;
/** A pax header, its record, the entry's own header. */
const MOST_HEADERS = 3 * BLOCK;
/** The addon's answer when the next entry has no room. */
const NO_ROOM = 1;
/** Places of the numbers that the addon is given; it changes `first` and `at`. */
const JOB = { directory: 0, first: 1, count: 2, largest: 3, uidRanges: 4, at: 5, end: 6 } as const;
const EVERY_ID: readonly IdRange[] = [{ containerID: 0, hostID: 0, size: 2 ** 32 - 1 }];

/** The headers of entries without anything special. */
export class PlainHeaders {
  readonly #runner: PlainRunner;
  readonly #fields = new Float64Array(7);
  readonly #headers = Buffer.alloc(MOST_HEADERS);

  constructor(runner: PlainRunner) {
    this.#runner = runner;
  }

  /** All headers of the entry, a view that is good until the next call; `undefined` for an entry that is not plain. */
  encode({ name, type, mode, uid, gid, stored = 0, mtime, ...rest }: OutEntry): Buffer | undefined {
    const { linkname, xattrs, realSize, major, minor } = rest;
    if (linkname !== undefined || xattrs?.length || realSize !== undefined || major || minor) return undefined;
    const fields = this.#fields;
    fields[0] = type.charCodeAt(0);
    fields[1] = mode;
    fields[2] = uid;
    fields[3] = gid;
    fields[4] = stored;
    fields[5] = mtime.seconds;
    fields[6] = mtime.nanoseconds;
    const length = this.#runner.plainHeaders(this.#headers, name, fields);
    return length === 0 ? undefined : this.#headers.subarray(0, length);
  }
}

/** Regular files that are not large and have no holes, and symbolic links: with one name and without attributes. */
export class PlainFiles {
  readonly #runner: PlainRunner;
  readonly #output: Output;
  readonly #names: NameStack;
  /** Ranges of user ids, then of group ids, as three numbers each. */
  readonly #ids: Uint32Array;
  readonly #job = new Uint32Array(Object.keys(JOB).length);

  constructor(runner: PlainRunner, output: Output, names: NameStack, idMaps: IdMaps | undefined) {
    this.#runner = runner;
    this.#output = output;
    this.#names = names;
    const { uids, gids } = idMaps ?? { uids: EVERY_ID, gids: EVERY_ID };
    this.#ids = Uint32Array.from(
      [...uids, ...gids].flatMap(({ containerID, hostID, size }) => [containerID, hostID, size]),
    );
    this.#job[JOB.uidRanges] = uids.length;
    this.#job[JOB.largest] = LARGEST;
  }

  /**
   * Writes the entries of regular files and symbolic links in a directory whose name in the archive is `prefix`, up to the first that is not like most.
   * @returns how many were written.
   */
  write(directory: number, prefix: ByteString, listing: Names, from: number, count: number): number {
    const job = this.#job;
    const first = listing.stackIndex(from);
    job[JOB.directory] = directory;
    job[JOB.first] = first;
    job[JOB.count] = count;
    const outcome = this.#run('plainFiles', prefix, MOST_HEADERS);
    // A full buffer ends it: whoever packs beside other work looks at the time between buffers.
    if (outcome === NO_ROOM && job[JOB.first] === first) this.#run('plainFiles', prefix, MOST_HEADERS + LARGEST);
    return job[JOB.first]! - first;
  }

  /** Opens a directory like most, and writes its entry. @returns the fd, the caller's to close; -1 when it is another one. */
  directory(parent: number, prefix: ByteString, listing: Names, index: number): number {
    const job = this.#job;
    job[JOB.directory] = parent;
    job[JOB.first] = listing.stackIndex(index);
    job[JOB.count] = 1;
    return this.#run('plainDirectory', prefix, MOST_HEADERS);
  }

  /** Has the addon do the job where there is so much room at least. */
  #run(what: 'plainFiles' | 'plainDirectory', prefix: ByteString, room: number): number {
    const job = this.#job;
    const output = this.#output;
    const at = output.room(room);
    job[JOB.at] = at;
    job[JOB.end] = output.roomEnd;
    const { bytes, places } = this.#names;
    const outcome = this.#runner[what](bytes, places, prefix, this.#ids, job, output.bytes);
    output.took(job[JOB.at]! - at);
    return outcome;
  }
}
