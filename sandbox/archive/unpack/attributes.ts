/** Sets extended attributes, and puts up with those that the filesystem or the user namespace does not have. */
import { C } from '../../../syscall';
import { type ByteString, printable } from '../codec/bytes';
import type { Xattr } from '../codec/xattrs';
import type { OnWarning } from '../entry';
import type { Place } from '../faults';
import type { Arg } from '../io/batch';
import { allocHow, close, fchdir, fsetxattr, lsetxattr, openat2 } from '../io/calls';
import type { Directory } from './directories';
import type { Operations, Recover } from './operations';

/** xattr(7): not for this kind of file, not on this filesystem, or not for this user namespace. */
const LOSSES = new Set(['EOPNOTSUPP', 'EPERM']);

export class Attributes {
  readonly #ops: Operations;
  readonly #onWarning: OnWarning;
  #workingDirectory = -1;

  constructor(ops: Operations, onWarning: OnWarning) {
    this.#ops = ops;
    this.#onWarning = onWarning;
  }

  /** Sets an attribute of an open file. */
  set(fd: Arg, xattr: Xattr, place: Place): void {
    this.#ops.reserve(1, sizeOf(xattr));
    this.add(fd, xattr, place);
  }

  /** {@link set} where room was made before: the batch does not run in between. */
  add(fd: Arg, { name, value }: Xattr, place: Place): void {
    const { batch } = this.#ops;
    this.#ops.begin(place, this.#recover(name, place));
    batch.step(`setting the extended attribute "${printable(name)}"`);
    fsetxattr(batch, fd, batch.string(name), batch.bytes(value), value.length);
  }

  /**
   * Sets an attribute of something that cannot be opened. There is no call for that below Linux 6.13 but the one that takes
   * a path, so the process's working directory is the entry's for the time of two calls.
   */
  setByName(directory: Directory, base: ByteString, { name, value }: Xattr, place: Place): void {
    const back = this.#openWorkingDirectory();
    this.#ops.reserve(3, base.length + sizeOf({ name, value }));
    this.#ops.begin(place, this.#recover(name, place));
    const { batch } = this.#ops;
    batch.step(`setting the extended attribute "${printable(name)}"`);
    fchdir(batch, directory.fd);
    lsetxattr(batch, batch.string(base), batch.string(name), batch.bytes(value), value.length);
    fchdir(batch, back);
  }

  /** Tells of an attribute that is left out. */
  dropped(name: ByteString, place: Place, why: string): void {
    const entry = place.name === undefined ? '' : printable(place.name);
    this.#onWarning(`${entry}: the extended attribute "${printable(name)}" is left out: ${why}`, {
      kind: 'xattr-dropped',
      name: entry,
    });
  }

  close(): void {
    const fd = this.#workingDirectory;
    if (fd < 0) return;
    // After a failure it may still be a directory of the upper.
    this.#ops.now((batch) => {
      fchdir(batch, fd);
      close(batch, fd);
    });
    this.#workingDirectory = -1;
  }

  /** Tells of a loss that can be borne, and goes on behind it. */
  #recover(name: ByteString, place: Place): Recover {
    return ({ index, errno }) => {
      if (!LOSSES.has(errno)) return undefined;
      this.dropped(name, place, `setting it failed with ${errno}`);
      return index + 1;
    };
  }

  #openWorkingDirectory(): number {
    if (this.#workingDirectory >= 0) return this.#workingDirectory;
    const { failure, batch } = this.#ops.now((b) => {
      openat2(b, b.newSlot(), C.AT_FDCWD, b.string('.'), allocHow(b, C.O_PATH | C.O_DIRECTORY));
    });
    if (failure) throw new Error(`opening the working directory: ${failure.errno}`);
    this.#workingDirectory = batch.slot(0);
    return this.#workingDirectory;
  }
}

/** Bytes that an attribute takes in the image of a batch. */
export function sizeOf({ name, value }: Xattr): number {
  return name.length + value.length + 1;
}
