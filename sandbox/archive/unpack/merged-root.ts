/**
 * What an archive of an upper says where only the result can be written to: an overlay that is mounted already, whose upper nobody may
 * touch behind its back. Deletions are done, not marked.
 */
import type { ByteString } from '../codec/bytes';
import { type EntryPath, joinPath } from '../codec/names';
import type { Entry } from '../entry';
import { archiveInvalid, type Place } from '../faults';

export class MergedRoot {
  /** The whiteouts that are entries of their own: as gVisor and GNU tar write them, all others are hard links to the first. */
  readonly #deleted = new Set<ByteString>();
  /** Directories that something came for before they came themselves; in an archive in any usual order none. */
  readonly #early = new Set<ByteString>();
  /** The directories that came, from the root to where the archive is. */
  #way: ByteString[] = [];

  /** Does the entry say that something of the image is gone? */
  isDeletion({ kind, major, minor, path, link }: Entry): boolean {
    const isFirst = kind === 'char' && major === 0 && minor === 0;
    const isLink = kind === 'hardlink' && this.#deleted.has(joinPath(link!.dir, link!.base));
    if (!isFirst && !isLink) return false;
    this.#expect(path);
    if (isFirst) this.#deleted.add(joinPath(path.dir, path.base));
    return true;
  }

  /** Something else has this name now. */
  made(path: EntryPath): void {
    this.#expect(path);
    this.#deleted.delete(joinPath(path.dir, path.base));
  }

  /** The entry of a directory has come. */
  announced({ dir, base }: EntryPath): void {
    const path = joinPath(dir, base);
    this.#way = [...this.#way.filter((above) => isBelow(path, above)), path];
  }

  /**
   * Before a directory is emptied, for the archive replaces it.
   * @throws SiltError ARCHIVE_INVALID when something in it has come already, and would go with the image's.
   */
  refuseLate({ dir, base }: EntryPath, place: Place): void {
    const path = joinPath(dir, base);
    if (![...this.#early].some((early) => early === path || isBelow(early, path))) return;
    const message =
      'it replaces a directory of the image and comes behind what is in it, which overlay2=none cannot apply';
    throw archiveInvalid(place, message);
  }

  #expect({ dir }: EntryPath): void {
    if (dir !== '' && !this.#way.includes(dir)) this.#early.add(dir);
  }
}

function isBelow(path: ByteString, above: ByteString): boolean {
  return above === '' || path.startsWith(`${above}/`);
}
