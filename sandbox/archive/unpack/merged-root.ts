/**
 * What an archive of an upper says where only the result can be written to: an overlay that is mounted already, whose upper nobody may
 * touch behind its back. Deletions are done, not marked.
 */
import type { ByteString } from '../codec/bytes';
import { type EntryPath, joinPath, splitPath } from '../codec/names';
import type { Entry } from '../entry';
import { archiveInvalid, type Place } from '../faults';

export class MergedRoot {
  /** The whiteouts that are entries of their own: as gVisor and GNU tar write them, all others are hard links to the first. */
  readonly #deleted = new Set<ByteString>();
  /** Directories that something of the archive is in, at any depth. */
  readonly #filled = new Set<ByteString>();
  /** What had these names in the image is gone. */
  readonly #gone = new Set<ByteString>();

  /** Does the entry say that something of the image is gone? */
  isDeletion({ kind, major, minor, path, link }: Entry): boolean {
    const isFirst = kind === 'char' && major === 0 && minor === 0;
    const isLink = kind === 'hardlink' && this.#deleted.has(joinPath(link!.dir, link!.base));
    if (!isFirst && !isLink) return false;
    const name = joinPath(path.dir, path.base);
    if (isFirst) this.#deleted.add(name);
    this.#gone.add(name);
    return true;
  }

  /** Something else has this name now. */
  made(path: EntryPath): void {
    this.#deleted.delete(joinPath(path.dir, path.base));
    for (let dir = path.dir; dir !== '' && !this.#filled.has(dir); dir = splitPath(dir).dir) this.#filled.add(dir);
  }

  /**
   * The archive replaces a directory: does it have to be emptied? Not when what the image had there is gone already: what is there then
   * is the archive's.
   * @throws SiltError ARCHIVE_INVALID when something in it has come already, and would go with the image's.
   */
  replaces({ dir, base }: EntryPath, place: Place): boolean {
    const path = joinPath(dir, base);
    for (let name = path; name !== ''; name = splitPath(name).dir) if (this.#gone.has(name)) return false;
    if (this.#filled.has(path)) {
      const message =
        'it replaces a directory of the image and comes behind what is in it, which overlay2=none cannot apply';
      throw archiveInvalid(place, message);
    }
    this.#gone.add(path);
    return true;
  }
}
