import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../errors';
import type { IdMaps } from '../gofer';
import { type Config, RANGE_SIZE } from './config';

/**
 * Ranges of 65536 host ids for the user namespaces of pods. A range is taken by making the directory of its number, which
 * only one process can do. The pod's state has the number, so that whoever cleans up after the pod releases it, once.
 */
export class IdRanges {
  constructor(
    private readonly directory: string,
    private readonly firstId: number,
    private readonly count: number,
  ) {}

  /** A range that no other pod has. @throws SiltError NO_SPACE when all are taken. */
  claim(): { index: number; idMaps: IdMaps } {
    const make = (): unknown => mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    make();
    const taken = new Set(listed(this.directory));
    for (let index = 0; index < this.count; index++) {
      if (taken.has(index)) continue;
      try {
        mkdirSync(join(this.directory, `${index}`));
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

  release(index: number): void {
    try {
      rmdirSync(join(this.directory, `${index}`));
      rmdirSync(this.directory);
    } catch {
      // Not there: nothing to release. Or not empty: others have ranges.
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
