/**
 * Hard links. A link whose target is there is made in its turn, so that it shares the file that had the name then; one
 * whose target has not come yet waits until the archive's end.
 */
import { C } from '../../../syscall';
import type { ByteString } from '../codec/bytes';
import { printable } from '../codec/bytes';
import { type EntryPath, joinPath, splitPath } from '../codec/names';
import { archiveInvalid, entryFailure, type Place } from '../faults';
import { allocStatx, fileKey, linkat, mknodat, readStatx, statx } from '../io/calls';
import type { Directory, DirectoryTable } from './directories';
import type { Operations } from './operations';

interface Waiting {
  readonly path: ByteString;
  readonly target: ByteString;
  readonly place: Place;
}

/** What waiting links may take in memory, roughly. */
const MAX_WAITING_BYTES = 32 << 20;
const WAITING_OVERHEAD = 300;

const LINKING = 'making the hard link';

export class Links {
  readonly #ops: Operations;
  readonly #directories: DirectoryTable;
  readonly #makeWay: (directory: Directory, base: ByteString, place: Place) => void;
  readonly #waiting = new Map<ByteString, Waiting>();
  #waitingBytes = 0;

  constructor(
    ops: Operations,
    directories: DirectoryTable,
    makeWay: (directory: Directory, base: ByteString, place: Place) => void,
  ) {
    this.#ops = ops;
    this.#directories = directories;
    this.#makeWay = makeWay;
  }

  /** Links to `link` under the name of `path`, in the batch or at the end. */
  make(path: EntryPath, link: EntryPath, place: Place): void {
    const waiting = { path: joinPath(path.dir, path.base), target: joinPath(link.dir, link.base), place };
    const directory = this.#directories.at(path.dir, place);
    const from = this.#targetDirectory(link.dir, place);
    if (from === undefined) {
      this.#ops.flush();
      this.#makeWay(directory, path.base, place);
      this.#wait(waiting);
    } else {
      this.#link(from, link.base, directory, path.base, place, () => {
        // Whatever has the link's name was there before it, so it goes now, not when the link is made.
        this.#makeWay(directory, path.base, place);
        this.#wait(waiting);
      });
    }
  }

  /** The directory of a target; `undefined` when it is not there. */
  #targetDirectory(dir: ByteString, place: Place): Directory | undefined {
    const found = this.#directories.find(dir) ?? this.#directories.existing(dir, place);
    if (typeof found === 'object') return found;
    if (found === 'ENOENT' || found === 'ENOTDIR') return undefined;
    throw entryFailure(place, 'looking for the target of the hard link', found);
  }

  #link(
    from: Directory,
    target: ByteString,
    directory: Directory,
    base: ByteString,
    place: Place,
    whenMissing: () => void,
  ): void {
    const batch = this.#ops.reserve(1, target.length + base.length + 2);
    this.#ops.begin(place, ({ index, errno }) => {
      if (errno === 'ENOENT') {
        whenMissing();
        return index + 1;
      }
      if (errno === 'EEXIST') {
        if (this.#isSame(from.fd, target, directory.fd, base)) return index + 1;
        this.#makeWay(directory, base, place);
        return index;
      }
      return this.#recoverLimit(errno, from, target, directory, base, place) ? index + 1 : undefined;
    });
    batch.step(LINKING);
    linkat(batch, from.fd, batch.string(target), directory.fd, batch.string(base));
  }

  /** A filesystem has few links for each inode; another whiteout is as good as a link to one. */
  #recoverLimit(
    errno: string,
    from: Directory,
    target: ByteString,
    directory: Directory,
    base: ByteString,
    place: Place,
  ): boolean {
    if (errno !== 'EMLINK' && errno !== 'EPERM') return false;
    const mode = this.#modeOf(from.fd, target);
    if (mode === C.S_IFDIR) throw archiveInvalid(place, 'it is a hard link to a directory');
    if (errno !== 'EMLINK' || mode !== 'whiteout') return false;
    const { failure } = this.#ops.now((batch) => mknodat(batch, directory.fd, batch.string(base), C.S_IFCHR, 0));
    if (failure) throw entryFailure(place, LINKING, failure.errno);
    return true;
  }

  #modeOf(dir: number, name: ByteString): number | 'whiteout' {
    let at = 0;
    const { failure, batch } = this.#ops.now((b) => {
      at = allocStatx(b);
      statx(b, b.newSlot(), dir, b.string(name), at);
    });
    if (failure) return 0;
    const { mode, major, minor } = readStatx(batch.image, at);
    return (mode & C.S_IFMT) === C.S_IFCHR && major === 0 && minor === 0 ? 'whiteout' : mode & C.S_IFMT;
  }

  #isSame(aDir: number, a: ByteString, bDir: number, b: ByteString): boolean {
    const at: number[] = [];
    const { failure, batch } = this.#ops.now((aside) => {
      for (const [dir, name] of [[aDir, a], [bDir, b]] as const) {
        at.push(allocStatx(aside));
        statx(aside, aside.newSlot(), dir, aside.string(name), at.at(-1)!);
      }
    }); // prettier-ignore
    return !failure && fileKey(batch.image, at[0]!) === fileKey(batch.image, at[1]!);
  }

  #wait(waiting: Waiting): void {
    this.#waiting.set(waiting.path, waiting);
    this.#waitingBytes += waiting.path.length + waiting.target.length + WAITING_OVERHEAD;
    if (this.#waitingBytes > MAX_WAITING_BYTES) {
      throw archiveInvalid(waiting.place, 'too many hard links stand before their targets');
    }
  }

  /** Everything below this path is gone, and so are the links that wait there. */
  forget(path: ByteString): void {
    for (const waiting of this.#waiting.keys()) if (waiting.startsWith(`${path}/`)) this.#waiting.delete(waiting);
  }

  /** Makes the links that wait. @throws ARCHIVE_INVALID for one whose target never came. */
  finish(): void {
    this.#ops.flush();
    const under = new Set<ByteString>();
    for (const first of [...this.#waiting.values()]) {
      // A target may be a waiting link itself: that one comes first.
      const chain = [first];
      for (
        let next = this.#waiting.get(first.target);
        next && !under.has(next.path);
        next = this.#waiting.get(next.target)
      ) {
        under.add(next.path);
        chain.push(next);
      }
      for (const waiting of chain.reverse()) if (this.#waiting.delete(waiting.path)) this.#makeWaiting(waiting);
      under.clear();
    }
  }

  #makeWaiting({ path, target, place }: Waiting): void {
    const { dir, base } = splitPath(path);
    const directory = this.#directories.existing(dir, place);
    // Its directory became something else later: then so did the link.
    if (typeof directory === 'string') return;
    const { dir: targetDir, base: targetBase } = splitPath(target);
    const never = (): never => {
      throw archiveInvalid(place, `the target of the hard link, "${printable(target)}", is not in the archive`);
    };
    const from = this.#targetDirectory(targetDir, place) ?? never();
    const { failure } = this.#ops.now((batch) => {
      batch.step(LINKING);
      linkat(batch, from.fd, batch.string(targetBase), directory.fd, batch.string(base));
    });
    if (failure?.errno === 'ENOENT') never();
    // An entry with the link's name came later and counts.
    if (!failure || failure.errno === 'EEXIST') return;
    if (!this.#recoverLimit(failure.errno, from, targetBase, directory, base, place))
      throw entryFailure(place, LINKING, failure.errno);
  }
}
