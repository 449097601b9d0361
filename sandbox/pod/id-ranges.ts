import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { SiltError } from '../../errors';
import type { IdMaps, IdRange } from '../../gofer';
import { type Config, RANGE_SIZE } from '../config/config';

export interface ClaimedRange {
  readonly index: number;
  readonly idMaps: IdMaps;
}

/** A pod's state is there some milliseconds after its range. */
const FORGOTTEN_MS = 60_000;

/**
 * Ranges of 65536 host ids for the user namespaces of pods. A range is taken by making a symlink of its number, which only one
 * process can do, and which says in the same moment whose it is: the place of the pod's state. So whoever cleans up after a pod
 * can release what it had, also when it was killed before it wrote the number down, and never what is another's by then.
 */
export class IdRanges {
  constructor(
    private readonly directory: string,
    private readonly firstId: number,
    private readonly count: number,
  ) {}

  /**
   * A range that no other pod has. When all are taken, those of pods that were killed at their start, or whose state somebody has
   * deleted, are given back first: a command line has no shim that would do it.
   * @param owner where the pod's state is, or will be in a moment
   * @throws SiltError NO_SPACE when all are taken.
   */
  claim(owner: string): ClaimedRange {
    let range = this.#claimFree(owner);
    if (range) return range;
    this.releaseForgotten(FORGOTTEN_MS);
    range = this.#claimFree(owner);
    if (range) return range;
    throw new SiltError(
      'NO_SPACE',
      `all ${this.count} id ranges for user namespaces are taken (${this.directory}); raise userns-ranges`,
    );
  }

  #claimFree(owner: string): ClaimedRange | undefined {
    const make = (): unknown => mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    make();
    const taken = new Set(listed(this.directory).map(indexIn));
    for (let index = 0; index < this.count; index++) {
      if (taken.has(index)) continue;
      try {
        symlinkSync(owner, join(this.directory, `${index}`));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // Who gave the last range back has taken the directory away with it.
        if (code === 'ENOENT') make();
        if (code === 'ENOENT') index--;
        else if (code !== 'EEXIST') throw error;
        continue;
      }
      return { index, idMaps: this.#idMaps(index) };
    }
    return undefined;
  }

  /**
   * A range that a live pod has, for one that shares its user namespace: it is claimed for nobody else before both are gone.
   * @param idMaps of that user namespace
   * @returns what to release; undefined when it is no range of these, or nobody has it.
   */
  share(idMaps: IdMaps, owner: string): string | undefined {
    const index = this.#indexOf(idMaps);
    if (index === undefined || !listed(this.directory).some((name) => indexIn(name) === index)) return undefined;
    for (let n = 1; ; n++) {
      const name = `${index}.${n}`;
      try {
        symlinkSync(owner, join(this.directory, name));
        return name;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT') return undefined;
        if (code !== 'EEXIST') throw error;
      }
    }
  }

  /** Gives a claimed range back, or a shared one, unless it is another's. */
  release(name: number | string, owner: string): void {
    try {
      if (this.#ownerOf(`${name}`) !== owner) return;
      unlinkSync(join(this.directory, `${name}`));
      rmdirSync(this.directory);
    } catch {
      // Not there: nothing to release. Or not empty: others have ranges.
    }
  }

  /** Gives back all that a pod has. */
  releaseAll(owner: string): void {
    for (const name of listed(this.directory)) this.release(name, owner);
  }

  /** Gives back what was claimed at least `ms` ago for pods that are not there: no state of theirs, and no process with such an id. */
  releaseForgotten(ms: number): void {
    for (const name of listed(this.directory)) {
      const claimed = lstatSync(join(this.directory, name), { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
      const owner = this.#ownerOf(name);
      if (owner === undefined || Date.now() - claimed <= ms || existsSync(owner)) continue;
      if (!this.#hasProcesses(indexIn(name))) this.release(name, owner);
    }
  }

  /** Those of a pod whose state was deleted under it go on. */
  #hasProcesses(index: number): boolean {
    const [{ hostID, size }] = this.#idMaps(index).uids as [IdRange];
    return readdirSync('/proc').some((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      const uid = statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? 0;
      return uid >= hostID && uid < hostID + size;
    });
  }

  #ownerOf(name: string): string | undefined {
    try {
      return readlinkSync(join(this.directory, name));
    } catch {
      return undefined;
    }
  }

  #idMaps(index: number): IdMaps {
    const range = { containerID: 0, hostID: this.firstId + index * RANGE_SIZE, size: RANGE_SIZE };
    return { uids: [range], gids: [range] };
  }

  #indexOf(idMaps: IdMaps): number | undefined {
    const index = ((idMaps.uids[0]?.hostID ?? NaN) - this.firstId) / RANGE_SIZE;
    if (!Number.isInteger(index) || index < 0 || index >= this.count) return undefined;
    return isDeepStrictEqual(idMaps, this.#idMaps(index)) ? index : undefined;
  }
}

/** What is there now; nothing when the last one has just been given back. */
function listed(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** A range's number, of the link of who claimed it (`7`) and of those who share it (`7.1`, `7.2`). */
function indexIn(name: string): number {
  return Number(/^\d+/.exec(name)?.[0]);
}

/** The ranges of all pods of a silt root, in whatever containerd namespace they are. */
export function podIdRanges(root: string, config: Config): IdRanges {
  return new IdRanges(join(root, 'id-ranges'), config.usernsFirstId, config.usernsRanges);
}
