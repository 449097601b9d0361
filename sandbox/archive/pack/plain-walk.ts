/**
 * What is like most, and its headers, which the addon reads and writes (native/pack-plain.h): with a million files every call from here, and every
 * number taken apart here, costs more than reading them; and a short run is over before V8 has compiled what would do it.
 */
import { closeSync } from 'node:fs';
import type { NativeAddon } from '../../../native';
import type { ByteString } from '../codec/bytes';
import { BLOCK } from '../codec/header';
import type { OutEntry } from './headers';
import type { IdMaps, IdRange } from './ids';
import type { Listing, NameStack } from './listing';
import { LARGEST_BUFFERED, LARGEST_SENT, type OnShort, type Output, SEND_NUMBERS } from './output';

/** What is needed of the native addon. */
export type PlainRunner = Pick<NativeAddon, 'packPlain' | 'plainHeaders'>;

/** A pax header, its record, the entry's own header. */
const MOST_HEADERS = 3 * BLOCK;
/** Bytes of a name that a plain header has, and with which an entry's header begins. */
const NAME = 100;
/** So many entries are written within a few milliseconds. */
const ENTRIES = 1024;
/** Directories that the addon has open at once. */
const LEVELS = 32;
/** Places of the numbers of a directory that the addon reads. */
const LEVEL = { fd: 0, next: 3 } as const;
type LevelNumbers = [fd: number, bytes: number, places: number, next: number, end: number, prefix: number];
const LEVEL_NUMBERS = 6;
/** Places of the numbers that the addon is given and gives back. */
const JOB = { depth: 0, entries: 1, at: 2, end: 3, sends: 4, sendBytes: 5, largestRead: 6, largestSent: 7, uidRanges: 8 } as const; // prettier-ignore
/** What the addon answers: it has come to the end; there is no room; the next name is another kind; others may have their turn. */
const END = { all: 0, room: 1, other: 2, enough: 3 } as const;
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

/** A directory that the addon has entered: its fd is whose it is given to. */
export interface Entered {
  /** `./a/`. */
  readonly name: ByteString;
  readonly fd: number;
  readonly listing: Listing;
  /** Index of the next name to look at. */
  readonly next: number;
}

/** Walks through what is like most: whole trees of directories, files that have no holes and one name, and symbolic links, without attributes. */
export class PlainWalk {
  readonly #runner: PlainRunner;
  readonly #output: Output;
  readonly #names: NameStack;
  readonly #onShort: (name: ByteString, missing: number) => void;
  /** Ranges of user ids, then of group ids, as three numbers each. */
  readonly #ids: Uint32Array;
  readonly #job = new Uint32Array(Object.keys(JOB).length);
  readonly #levels = new Uint32Array(LEVEL_NUMBERS * LEVELS);
  /** Name of the directory where the walk is. */
  readonly #path = Buffer.alloc(NAME);
  #first = 0;
  /** What the addon has answered, until another walk begins. */
  #end: number = END.all;

  /** `onShort` is told of files that became smaller while they were read. */
  constructor(
    runner: PlainRunner,
    output: Output,
    names: NameStack,
    idMaps: IdMaps | undefined,
    onShort: (name: ByteString, missing: number) => void,
  ) {
    this.#runner = runner;
    this.#output = output;
    this.#names = names;
    this.#onShort = onShort;
    const { uids, gids } = idMaps ?? { uids: EVERY_ID, gids: EVERY_ID };
    this.#ids = Uint32Array.from(
      [...uids, ...gids].flatMap(({ containerID, hostID, size }) => [containerID, hostID, size]),
    );
    this.#job[JOB.uidRanges] = uids.length;
    this.#job[JOB.largestRead] = LARGEST_BUFFERED;
  }

  get isUnderWay(): boolean {
    return this.#end === END.room || this.#end === END.enough;
  }

  /** It has come to a name that is not like most. */
  get isAtOther(): boolean {
    return this.#end === END.other;
  }

  /**
   * Begins at a name, whose index in the stack of names this is, of the directory `fd`, which is `prefix` in the archive, to go through so many names.
   * Nothing is begun for none of them, or where names are longer than plain ones.
   */
  begin(fd: number, prefix: ByteString, first: number, count: number): void {
    if (count === 0 || prefix.length > NAME) return;
    this.#levels.set([fd, 0, 0, first, first + count, prefix.length]);
    this.#path.write(prefix, 'latin1');
    this.#job[JOB.depth] = 0;
    this.#first = first;
    this.#end = END.enough;
  }

  /**
   * Goes on, for a few milliseconds at most. A walk that has come to another kind of entry, or to its end, is not under way any more: then it says what
   * it has {@link passed}, and is to {@link handOver}. @returns how many entries were written.
   */
  goOn(): number {
    const job = this.#job;
    const output = this.#output;
    const { bytes, used, sends, count, sendBytes } = output.filling;
    job[JOB.entries] = ENTRIES;
    job[JOB.at] = used;
    job[JOB.end] = bytes.length;
    job[JOB.sends] = count;
    job[JOB.sendBytes] = sendBytes;
    job[JOB.largestSent] = output.sends(LARGEST_SENT) ? LARGEST_SENT : LARGEST_BUFFERED;
    const names = this.#names;
    this.#end = this.#runner.packPlain(names.bytes, names.places, names.used, this.#levels, this.#path, this.#ids, job, bytes, sends); // prettier-ignore
    const onShort: OnShort[] = [];
    let sent = 0;
    for (let i = count; i < job[JOB.sends]!; i++) {
      const [, at, size] = sends.subarray(SEND_NUMBERS * i) as unknown as [number, number, number];
      onShort.push((missing) => this.#onShort(nameInHeader(bytes, at), missing));
      sent += size;
    }
    output.took(job[JOB.at]! - used, onShort, sent);
    // What has no room in an empty buffer has none at all.
    if (this.#end === END.room && !output.turn()) this.#end = END.other;
    return job[JOB.entries]!;
  }

  /** How many names of the first directory have been dealt with. */
  get passed(): number {
    return this.#levels[LEVEL.next]! - this.#first;
  }

  /** Gives away the directories in which the walk is, the outermost first: to be read on from there, and closed. */
  handOver(take: (entered: Entered) => void): void {
    const depth = this.#job[JOB.depth]!;
    this.#job[JOB.depth] = 0;
    for (let i = 1; i <= depth; i++) {
      const [fd, bytes, places, next, end, prefix] = this.#level(i);
      const name = this.#path.toString('latin1', 0, prefix) as ByteString;
      take({ name, fd, listing: this.#names.listing({ bytes, places }, end - places), next: next - places });
    }
  }

  /** Closes what it has open, after a failure. */
  close(): void {
    for (let depth = this.#job[JOB.depth]!; depth > 0; depth--) closeSync(this.#level(depth)[LEVEL.fd]);
    this.#job[JOB.depth] = 0;
  }

  #level(index: number): LevelNumbers {
    const at = LEVEL_NUMBERS * index;
    return [...this.#levels.subarray(at, at + LEVEL_NUMBERS)] as LevelNumbers;
  }
}

/** The name in a header that ends there. */
function nameInHeader(bytes: Buffer, end: number): ByteString {
  const name = bytes.toString('latin1', end - BLOCK, end - BLOCK + NAME);
  return name.replace(/\0.*/, '') as ByteString;
}
