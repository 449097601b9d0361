/**
 * Files, directories and symbolic links like most: records of them, which a loop in C makes (native/make-files.h). While the second thread
 * makes those of one queue, the next one is filled; who has to wait for it helps. What is different in any way is made by the calls of
 * {@link Operations}. Never do both have something to do: whichever gets something waits for the other first.
 */
import type { NativeAddon } from '../../../native';
import { errnoName } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import type { Timestamp } from '../codec/time';
import { entryFailure, type Place } from '../faults';
import type { PlainEntries } from '../reader/plain';
import type { Directory } from './directories';
import type { Operations } from './operations';

/** What is needed of the native addon. */
export type MakeRunner = Pick<NativeAddon, 'makeFiles' | 'startMaking' | 'finishMaking'>;

/** What a record can be given, and how much of it there is. */
export interface Making {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
}

/** Where the contents of a file are: in memory, which nobody writes to until {@link Maker.submit} was called twice, or in the archive. */
export interface Contents {
  readonly stored: number;
  readonly offset: number;
  readonly inline?: Buffer;
  readonly inlineAt?: number;
}

/** Called when there is something of the name already: the record is made again, or the next one; `undefined` when that is an error. */
export type WhenThere = (again: number) => number | undefined;

/** Kinds of records, what is to be set, and the steps in which they fail, as in make-files.h. */
const KIND = { file: 0, directory: 1, symlink: 2, closed: 3 } as const;
const SET = { owner: 1, mode: 2, time: 4, moved: 8 } as const;
const STEPS = ['', 'writing its contents', 'setting its owner', 'setting its mode', 'setting its time', 'reading its record']; // prettier-ignore
const CREATING = { 0: 'creating the file', 1: 'making the directory', 2: 'creating it' } as Readonly<
  Record<number, string>
>;
const WORDS = 16;
const RECORDS = 1024;
const NAMES = 64 << 10;
/** Characters of the paths that the records of a queue keep in memory, besides the last one's: a path can be long. */
const PATHS = 1 << 20;
/** Places for fds of directories: of those that are open, and of those that are still to be closed. */
const DIRECTORIES = 1024;
/** So few are made at once, without waking the second thread. */
const FEW = 8;
const PERMISSIONS = 0o777;
const NOTHING = Buffer.alloc(0);

interface Queue {
  readonly records: Uint32Array;
  readonly names: Buffer;
  count: number;
  namesUsed: number;
  pathsKept: number;
  data: Buffer;
  /** Of each record: the directory, and its entry; of a plain one what the archive puts before its name, and where it begins. */
  readonly parents: Directory[];
  readonly places: (Place | ByteString)[];
  readonly offsets: Float64Array;
  /** Directories that are opened, and those that are closed, with the records that do. */
  readonly changes: Change[];
}

interface Change {
  readonly record: number;
  readonly directory: Directory;
  /** It is made and opened; when there is something of its name this says what to do. Otherwise it is closed. */
  readonly whenThere?: WhenThere;
}

/** What the maker cannot do itself. */
export interface MakerOptions {
  readonly native: MakeRunner;
  readonly operations: Operations;
  readonly archiveFd: number;
  /** Takes away what has the name. */
  readonly makeWay: (directory: Directory, base: ByteString, place: Place) => void;
}

export class Maker {
  readonly #native: MakeRunner;
  readonly #operations: Operations;
  readonly #makeWay: MakerOptions['makeWay'];
  readonly #uid = process.geteuid?.();
  readonly #gid = process.getegid?.();
  readonly #directories = new Int32Array(DIRECTORIES).fill(-1);
  readonly #free = Array.from({ length: DIRECTORIES }, (_, i) => DIRECTORIES - 1 - i);
  readonly #job: Uint32Array;
  readonly #queues: readonly [Queue, Queue] = [newQueue(), newQueue()];
  #filling: Queue = this.#queues[0];
  #running: Queue | undefined;

  constructor({ native, operations, archiveFd, makeWay }: MakerOptions) {
    this.#native = native;
    this.#makeWay = makeWay;
    this.#operations = operations;
    this.#job = Uint32Array.of(archiveFd, 0, 0);
    operations.before = () => this.flush();
  }

  /** A place for a directory's fd, which is noted there if it is open. */
  place(fd = -1): number {
    if (this.#free.length === 0) this.flush();
    const index = this.#free.pop();
    if (index === undefined) throw new RangeError('too many directories are open');
    this.#directories[index] = fd;
    return index;
  }

  /** Gives the place of a directory back that was closed otherwise. */
  forget({ index }: Directory): void {
    this.#directories[index] = -1;
    this.#free.push(index);
  }

  file(directory: Directory, base: ByteString, making: Making, contents: Contents, place: Place): void {
    const { stored, offset, inline, inlineAt } = contents;
    const data = inline && stored > 0 ? inline : undefined;
    const at = this.#add(KIND.file, base.length, directory, place, data);
    this.#name(base);
    this.#fill(at, making, inline ? 0 : SET.moved, stored, data ? inlineAt! : inline ? 0 : offset);
    const { seconds, nanoseconds } = making.mtime;
    this.#time(at, seconds, nanoseconds);
  }

  /** A file of an entry like most, with its contents at a place in `data` or in the archive. Nothing is made for it but the record. */
  plainFile(
    directory: Directory,
    plain: PlainEntries,
    data: Buffer,
    { contents, offset, isInMemory }: { contents: number; offset: number; isInMemory: boolean },
  ): void {
    const { baseAt, baseLength, size, seconds, nanoseconds } = plain;
    const isRead = isInMemory && size > 0;
    const at = this.#add(KIND.file, baseLength, directory, plain.spelled, isRead ? data : undefined);
    const queue = this.#filling;
    queue.offsets[queue.count - 1] = offset;
    const { names } = queue;
    for (let i = 0; i < baseLength; i++) names[queue.namesUsed++] = data[baseAt + i]!;
    names[queue.namesUsed++] = 0;
    this.#fill(at, plain, isInMemory ? 0 : SET.moved, size, size > 0 ? contents : 0);
    this.#time(at, seconds, nanoseconds);
  }

  symlink(directory: Directory, base: ByteString, making: Making, target: Buffer, place: Place): void {
    const at = this.#add(KIND.symlink, base.length + target.length + 1, directory, place, undefined);
    this.#name(base);
    const queue = this.#filling;
    queue.records[at + 1] = this.#owner(making) | SET.time;
    queue.records[at + 4] = queue.namesUsed;
    target.copy(queue.names, queue.namesUsed);
    queue.namesUsed += target.length;
    queue.names[queue.namesUsed++] = 0;
    this.#ids(at, making);
    this.#time(at, making.mtime.seconds, making.mtime.nanoseconds);
  }

  /** Makes the directory with mode 700, and opens it. */
  directory(parent: Directory, base: ByteString, directory: Directory, whenThere: WhenThere): void {
    const at = this.#add(KIND.directory, base.length, parent, directory.place, undefined);
    this.#name(base);
    const queue = this.#filling;
    queue.records[at + 1] = 0;
    queue.records[at + 4] = directory.index;
    queue.pathsKept += directory.path.length;
    queue.changes.push({ record: queue.count - 1, directory, whenThere });
  }

  /** Gives the directory what it is to have, and closes it. */
  close(directory: Directory): void {
    const { owner, mode, mtime, place } = directory;
    const at = this.#add(KIND.closed, 0, directory, place, undefined);
    const queue = this.#filling;
    const { records } = queue;
    records[at + 1] = (owner ? SET.owner : 0) | (mode === undefined ? 0 : SET.mode) | (mtime ? SET.time : 0);
    if (mode !== undefined) records[at + 5] = mode;
    if (owner) this.#ids(at, owner);
    if (mtime) this.#time(at, mtime.seconds, mtime.nanoseconds);
    queue.changes.push({ record: queue.count - 1, directory });
  }

  /** Makes everything. @throws SiltError for the first record that fails and cannot be recovered from. */
  flush(): void {
    this.submit();
    this.#finish();
  }

  /** Waits for what is being made, and begins with what there is. */
  submit(): void {
    this.#finish();
    const queue = this.#filling;
    if (queue.count === 0) return;
    const next = queue === this.#queues[0] ? this.#queues[1] : this.#queues[0];
    clear(next);
    this.#filling = next;
    this.#job[1] = 0;
    this.#job[2] = queue.count;
    const { records, names, data } = queue;
    if (queue.count > FEW && this.#native.startMaking(this.#job, records, names, data, this.#directories))
      this.#running = queue;
    else this.#settle(queue, this.#make(queue, 0));
  }

  /** Waits for what is being made, whatever comes of it, and forgets the rest: for after a failure. @returns the fds that are open. */
  abandon(): number[] {
    if (this.#running) this.#native.finishMaking();
    this.#running = undefined;
    this.#queues.forEach(clear);
    const open = [...this.#directories].filter((fd) => fd >= 0);
    this.#directories.fill(-1);
    return open;
  }

  #owner({ uid, gid }: Pick<Making, 'uid' | 'gid'>): number {
    // What is made belongs to whoever makes it, as no directory that things are made in has the set-gid bit.
    return uid !== this.#uid || gid !== this.#gid ? SET.owner : 0;
  }

  /** All contents of a queue are in one buffer. */
  #takeData(data: Buffer): void {
    const { data: before } = this.#filling;
    if (before !== data && before !== NOTHING) this.submit();
    this.#filling.data = data;
  }

  #makeRoom(names: number): void {
    const { count, namesUsed, pathsKept } = this.#filling;
    if (count === RECORDS || namesUsed + names > NAMES || pathsKept > PATHS) this.submit();
  }

  /** A new record, with room for its names. @returns where its words begin. */
  #add(
    kind: number,
    nameLength: number,
    directory: Directory,
    place: Place | ByteString,
    data: Buffer | undefined,
  ): number {
    if (this.#operations.isBusy) this.#operations.flush();
    this.#makeRoom(nameLength + 1);
    if (data) this.#takeData(data);
    const queue = this.#filling;
    const { records } = queue;
    const at = queue.count++ * WORDS;
    records[at] = kind;
    records[at + 2] = directory.index;
    records[at + 3] = queue.namesUsed;
    // Records that follow each other mostly have the same ones.
    if (queue.parents.at(-1) !== directory) queue.pathsKept += directory.path.length;
    if (queue.places.at(-1) !== place) queue.pathsKept += lengthOf(place);
    queue.parents.push(directory);
    queue.places.push(place);
    return at;
  }

  #name(base: ByteString): void {
    const queue = this.#filling;
    for (let i = 0; i < base.length; i++) queue.names[queue.namesUsed++] = base.charCodeAt(i);
    queue.names[queue.namesUsed++] = 0;
  }

  #fill(at: number, making: Omit<Making, 'mtime'>, moved: number, size: number, contents: number): void {
    const { records } = this.#filling;
    const { mode } = making;
    records[at + 1] = this.#owner(making) | ((mode & ~PERMISSIONS) === 0 ? 0 : SET.mode) | SET.time | moved;
    records[at + 5] = mode;
    this.#ids(at, making);
    setWord64(records, at + 12, size);
    setWord64(records, at + 14, contents);
  }

  #ids(at: number, { uid, gid }: Pick<Making, 'uid' | 'gid'>): void {
    const { records } = this.#filling;
    records[at + 6] = uid;
    records[at + 7] = gid;
  }

  #time(at: number, seconds: number, nanoseconds: number): void {
    const { records } = this.#filling;
    setWord64(records, at + 8, seconds);
    records[at + 10] = nanoseconds;
  }

  #make({ records, names, data, count }: Queue, from: number): number {
    this.#job[1] = from;
    this.#job[2] = count;
    return this.#native.makeFiles(this.#job, records, names, data, this.#directories);
  }

  #finish(): void {
    const queue = this.#running;
    if (!queue) return;
    this.#running = undefined;
    this.#settle(queue, this.#native.finishMaking());
  }

  /** Deals with what came of a queue until all of it is made. */
  #settle(queue: Queue, first: number): void {
    for (let outcome = first; ;) {
      const index = outcome < 0 ? queue.count : outcome >> 16;
      this.#noteChanges(queue, index);
      if (outcome < 0) {
        for (const { directory, whenThere } of queue.changes) if (!whenThere) this.#free.push(directory.index);
        return;
      }
      const step = (outcome >> 12) & 15;
      const errno = errnoName(outcome & 4095);
      const next = step === 0 && errno === 'EEXIST' ? this.#recover(queue, index) : undefined;
      if (next === undefined) {
        const doing = step === 0 ? CREATING[queue.records[index * WORDS]!]! : STEPS[step]!;
        throw entryFailure(placeOf(queue, index), doing, errno);
      }
      outcome = this.#make(queue, next);
    }
  }

  /** There is something of the name already. @returns the record to go on with. */
  #recover(queue: Queue, index: number): number | undefined {
    if (queue.records[index * WORDS] === KIND.directory)
      return queue.changes.find(({ record }) => record === index)!.whenThere!(index);
    this.#makeWay(queue.parents[index]!, baseOf(queue, index), placeOf(queue, index));
    return index;
  }

  /** Which directories are open once the records up to one have been made. */
  #noteChanges({ changes }: Queue, to: number): void {
    for (const { record, directory, whenThere } of changes) {
      if (record >= to) return;
      directory.fd = whenThere ? this.#directories[directory.index]! : -1;
    }
  }

  /** Notes the fd of a directory that was there already, in the place of the one that was to be made. */
  opened(directory: Directory, fd: number): void {
    this.#directories[directory.index] = fd;
  }
}

function newQueue(): Queue {
  return {
    records: new Uint32Array(RECORDS * WORDS),
    names: Buffer.alloc(NAMES),
    count: 0,
    namesUsed: 0,
    pathsKept: 0,
    data: NOTHING,
    parents: [],
    places: [],
    offsets: new Float64Array(RECORDS),
    changes: [],
  };
}

function clear(queue: Queue): void {
  queue.count = queue.namesUsed = queue.pathsKept = 0;
  queue.data = NOTHING;
  queue.parents.length = queue.places.length = queue.changes.length = 0;
}

function baseOf({ records, names }: Queue, index: number): ByteString {
  const at = records[index * WORDS + 3]!;
  return names.toString('latin1', at, names.indexOf(0, at)) as ByteString;
}

function lengthOf(place: Place | ByteString): number {
  return (typeof place === 'string' ? place : place.name)?.length ?? 0;
}

function placeOf(queue: Queue, index: number): Place {
  const place = queue.places[index]!;
  if (typeof place !== 'string') return place;
  return { name: (place + baseOf(queue, index)) as ByteString, offset: queue.offsets[index]! };
}

/** A number up to 2^53, also a negative one. */
function setWord64(words: Uint32Array, at: number, value: number): void {
  words[at] = value | 0;
  words[at + 1] = Math.floor(value / 2 ** 32);
}
