import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import type { IdMaps } from '../../gofer';
import { type Config, RANGE_SIZE } from '../config/config';

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
   * A range that no other pod has.
   * @param owner where the pod's state is, or will be in a moment
   * @throws SiltError NO_SPACE when all are taken.
   */
  claim(owner: string): { index: number; idMaps: IdMaps } {
    const make = (): unknown => mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    make();
    const taken = new Set(listed(this.directory));
    for (let index = 0; index < this.count; index++) {
      if (taken.has(index)) continue;
      try {
        symlinkSync(owner, this.#path(index));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        // Who gave the last range back has taken the directory away with it.
        if (code === 'ENOENT') make();
        if (code === 'ENOENT') index--;
        else if (code !== 'EEXIST') throw error;
        continue;
      }
      const range = { containerID: 0, hostID: this.firstId + index * RANGE_SIZE, size: RANGE_SIZE };
      return { index, idMaps: { uids: [range], gids: [range] } };
    }
    throw new SiltError(
      'NO_SPACE',
      `all ${this.count} id ranges for user namespaces are taken (${this.directory}); raise userns-ranges`,
    );
  }

  /** Gives a range back, unless it is another's. */
  release(index: number, owner: string): void {
    try {
      if (this.#ownerOf(index) !== owner) return;
      unlinkSync(this.#path(index));
      rmdirSync(this.directory);
    } catch {
      // Not there: nothing to release. Or not empty: others have ranges.
    }
  }

  /** Gives back all that a pod has. */
  releaseAll(owner: string): void {
    for (const index of listed(this.directory)) this.release(index, owner);
  }

  /** Gives back what was claimed at least `ms` ago for pods that are not there. */
  releaseForgotten(ms: number): void {
    for (const index of listed(this.directory)) {
      const claimed = lstatSync(this.#path(index), { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
      const owner = this.#ownerOf(index);
      if (owner !== undefined && Date.now() - claimed > ms && !existsSync(owner)) this.release(index, owner);
    }
  }

  #path(index: number): string {
    return join(this.directory, `${index}`);
  }

  #ownerOf(index: number): string | undefined {
    try {
      return readlinkSync(this.#path(index));
    } catch {
      return undefined;
    }
  }
}

/** What is there now; nothing when the last one has just been given back. */
function listed(directory: string): number[] {
  try {
    return readdirSync(directory).map(Number);
  } catch {
    return [];
  }
}

/** The ranges of all pods of a silt root, in whatever containerd namespace they are. */
export function podIdRanges(root: string, config: Config): IdRanges {
  return new IdRanges(join(root, 'id-ranges'), config.usernsFirstId, config.usernsRanges);
}
