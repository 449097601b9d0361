/** Makes what has no contents: symbolic links, fifos and whiteouts. */
import { C } from '../../../syscall';
import type { Entry } from '../entry';
import type { Place } from '../faults';
import type { Arg } from '../io/batch';
import { close, fchmod, fchown, fchownat, futimens, mknodat, openat2, symlinkat, utimensat } from '../io/calls';
import type { Attributes } from './attributes';
import type { Directory } from './directories';
import type { Operations } from './operations';

const CREATING = 'creating it';

export class Specials {
  readonly #ops: Operations;
  readonly #attributes: Attributes;

  constructor(ops: Operations, attributes: Attributes) {
    this.#ops = ops;
    this.#attributes = attributes;
  }

  symlink(entry: Entry, directory: Directory, place: Place, makeWay: () => void): void {
    const target = Buffer.concat([entry.target!, Buffer.alloc(1)]);
    const batch = this.#ops.reserve(3, entry.path.base.length + target.length + 64);
    const name = this.#begin(entry, place, makeWay);
    symlinkat(batch, batch.bytes(target), directory.fd, name);
    this.#finishByName(entry, directory, place, name);
  }

  /** A character device 0:0, which overlayfs takes for "deleted" and any user namespace may make (mknod(2), Linux 5.8). */
  whiteout(entry: Entry, directory: Directory, place: Place, makeWay: () => void): void {
    this.#ops.reserve(3, entry.path.base.length + 64);
    const name = this.#begin(entry, place, makeWay);
    mknodat(this.#ops.batch, directory.fd, name, C.S_IFCHR, 0);
    this.#finishByName(entry, directory, place, name);
  }

  /** Opened for reading without waiting for a writer, a fifo takes owner, mode and attributes as a file does. */
  fifo(entry: Entry, directory: Directory, place: Place, makeWay: () => void): void {
    const batch = this.#ops.reserve(6, entry.path.base.length + 64);
    const { file, fileSlot } = this.#ops;
    const name = this.#begin(entry, place, makeWay);
    mknodat(batch, directory.fd, name, C.S_IFIFO | 0o600, 0);
    const opened = openat2(batch, fileSlot, directory.fd, name, this.#ops.fifo);
    this.#finishOpen(file, entry);
    this.#ops.hasFile(opened, close(batch, file));
    this.#attributesByName(entry, directory, place);
  }

  #finishOpen(file: Arg, entry: Entry): void {
    const { batch } = this.#ops;
    batch.step('setting its owner');
    fchown(batch, file, entry.uid, entry.gid);
    batch.step('setting its mode');
    fchmod(batch, file, entry.mode);
    batch.step('setting its time');
    futimens(batch, file, entry.mtime);
  }

  /** @returns the place of the name in the image. */
  #begin(entry: Entry, place: Place, makeWay: () => void): number {
    const { batch } = this.#ops;
    this.#ops.begin(place, ({ index, errno, step }) => {
      if (step !== CREATING || errno !== 'EEXIST') return undefined;
      makeWay();
      return index;
    });
    batch.step(CREATING);
    return batch.string(entry.path.base);
  }

  #finishByName(entry: Entry, directory: Directory, place: Place, name: number): void {
    const { batch } = this.#ops;
    batch.step('setting its owner');
    fchownat(batch, directory.fd, name, entry.uid, entry.gid);
    batch.step('setting its time');
    utimensat(batch, directory.fd, name, entry.mtime);
    this.#attributesByName(entry, directory, place);
  }

  #attributesByName(entry: Entry, directory: Directory, place: Place): void {
    for (const xattr of entry.xattrs) this.#attributes.setByName(directory, entry.path.base, xattr, place);
  }
}
