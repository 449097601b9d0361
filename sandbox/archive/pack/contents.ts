/** Writes the contents of regular files. */
import { Batch, type SyscallRunner } from '../io/batch';
import { letOthersRun } from '../io/breath';
import type { SparseMap } from '../codec/sparse';
import { encodeMap, findRuns } from './holes';
import type { Inspected } from './inspector';
import type { OnShort, Output } from './output';

/** How a file's contents are stored. */
export interface Layout {
  /** Bytes between this entry's headers and the next one's, without padding. */
  readonly stored: number;
  readonly map?: SparseMap;
  readonly encodedMap?: Buffer;
}

export class Contents {
  readonly #output: Output;
  readonly #batch: Batch;

  constructor(runner: SyscallRunner, output: Output) {
    this.#output = output;
    this.#batch = new Batch(runner, { imageSize: 8192, maxCalls: 256 });
  }

  layout({ stat, fd }: Inspected): Layout {
    const map = stat.allocated < stat.size ? findRuns(this.#batch, fd, stat.size) : undefined;
    if (!map) return { stored: stat.size };
    const encodedMap = encodeMap(map);
    let stored = encodedMap.length;
    for (let i = 1; i < map.length; i += 2) stored += map[i]!;
    return { stored, map, encodedMap };
  }

  /** Writes the contents of a file without holes, of at most LARGEST_BUFFERED bytes. */
  read(fd: number, size: number, onShort: OnShort): void {
    this.#output.file(fd, size, onShort);
    this.#output.pad();
  }

  /** As {@link read}, of a larger file that the output says it sends. Takes the fd. */
  send(fd: number, size: number, onShort: OnShort): void {
    this.#output.sendFile(fd, size, onShort);
    this.#output.pad();
  }

  /** Writes the contents of any file as they were laid out. */
  async write({ fd, stat }: Inspected, { map, encodedMap }: Layout, onShort: OnShort): Promise<void> {
    if (encodedMap) this.#output.write(encodedMap);
    const runs = map ?? Float64Array.of(0, stat.size);
    let missing = 0;
    for (let i = 0; i < runs.length; i += 2) {
      const end = runs[i]! + runs[i + 1]!;
      for (let at = runs[i]!; at < end;) {
        const count = this.#output.send(fd, at, end - at);
        if (count === 0) {
          this.#output.zeros(end - at);
          missing += end - at;
          break;
        }
        at += count;
        if (at < end) await letOthersRun();
      }
    }
    this.#output.pad();
    if (missing > 0) onShort(missing);
  }
}
