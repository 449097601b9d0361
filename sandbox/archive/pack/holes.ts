/** Which parts of a file are holes, and the map of them that GNU tar's sparse format 1.0 puts in front of the data. */
import { C } from '../../../syscall';
import { BLOCK } from '../codec/header';
import type { SparseMap } from '../codec/sparse';
import { type Batch, slotOf } from '../io/batch';
import { failed, lseek } from '../io/calls';
import { callNumber } from '../io/batch';

const LSEEK = callNumber('lseek');
/** Runs found with one program; each takes two of its slots. */
const RUNS = 100;
/** A sparse entry costs two headers and a block for the map. */
const WORTHWHILE = 4096;

/**
 * The runs of data in an open file of this size. `undefined` when there are no holes worth telling apart: a hole of less than
 * a page can only be the file's end.
 */
export function findRuns(batch: Batch, fd: number, size: number): SparseMap | undefined {
  const runs: number[] = [];
  let data = 0;
  for (let at = 0; at < size;) {
    const found = seekRuns(batch, fd, at);
    // The file ended, or lost its end meanwhile; what is left is a hole.
    if (found.length === 0) break;
    for (const [from, to] of found) {
      const end = Math.min(to, size);
      if (from >= end) continue;
      runs.push(from, end - from);
      data += end - from;
    }
    at = found.at(-1)![1];
  }
  if (size - data < WORTHWHILE) return undefined;
  // As GNU tar does: an empty run at the end tells the size of a file that ends in a hole.
  if (runs.length === 0 || runs.at(-2)! + runs.at(-1)! < size) runs.push(size, 0);
  return Float64Array.from(runs);
}

/** The next runs of data from an offset on, each found from where the one before it ended. */
function seekRuns(batch: Batch, fd: number, from: number): [from: number, to: number][] {
  batch.clear();
  const slots: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const [data, hole] = [batch.newSlot(), batch.newSlot()];
    // ENXIO: there is no more data. Then the offset of the next call is negative, and so on.
    if (i === 0) lseek(batch, data, fd, from, C.SEEK_DATA);
    else batch.call(LSEEK, data, fd, slotOf(slots.at(-1)!), C.SEEK_DATA);
    batch.tolerateAll();
    batch.call(LSEEK, hole, fd, slotOf(data), C.SEEK_HOLE);
    batch.tolerateAll();
    slots.push(data, hole);
  }
  batch.run();
  const runs: [number, number][] = [];
  for (let i = 0; i < slots.length; i += 2) {
    const [data, hole] = [batch.slot(slots[i]!), batch.slot(slots[i + 1]!)];
    if (failed(data) || failed(hole)) break;
    runs.push([data, hole]);
  }
  return runs;
}

/** The map as it stands in front of the data: decimal numbers, one a line, in whole blocks. */
export function encodeMap(map: SparseMap): Buffer {
  const text = Buffer.from(`${[map.length / 2, ...map].join('\n')}\n`);
  return Buffer.concat([text, Buffer.alloc(-text.length & (BLOCK - 1))]);
}
