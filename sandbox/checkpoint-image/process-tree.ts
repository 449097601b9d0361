/** The processes and threads that CRIU would restore (CRIU's images/pstree.proto and core.proto). */
import { onlyNumber, parseFields, parseImage, type WireField } from './image-file';

const TREE = { pid: 1, threads: 5 } as const;
/** Of a core image. */
export const CORE = { task: 3, thread: 5 } as const;
/** Of what can be no thread: CRIU would cut larger numbers down to 32 bits, and find another one's image. */
const NONE = -1;
const LAST = 0x7fffffffn;

export interface SavedProcess {
  readonly pid: number;
  /** Ids of all threads, the first one's among them; -1 for what is none. */
  readonly threads: readonly number[];
}

/** @param tree pstree.img, whose digest was found right @throws SiltError CHECKPOINT_FAILED for what is no such image. */
export function processesIn(tree: Buffer): SavedProcess[] {
  return parseImage(tree, 'pstree.img').entries.map((entry) => {
    const item = parseFields(entry);
    const pid = idOf(onlyNumber(item, TREE.pid));
    const threads = item.filter(({ number }) => number === TREE.threads);
    return { pid, threads: [...new Set([pid, ...threads.map(({ value }) => idOf(value))])] };
  });
}

/** Whether it is the core image of a zombie, of which nothing runs: see credentialsBeyond. */
export function isDead(core: Buffer | undefined): boolean {
  const entry = core && parseImage(core, 'core').entries[0];
  return entry !== undefined && !parseFields(entry).some(({ number }) => number === CORE.thread);
}

/** Ids of threads that CRIU would restore from an image that is not among `cores`. */
export function threadsWithoutCore(tree: Buffer, cores: ReadonlyMap<number, Buffer>): number[] {
  return processesIn(tree).flatMap(({ pid, threads }) => {
    // CRIU looks at no thread of a zombie, and does not know their ids.
    const needed = isDead(cores.get(pid)) ? [pid] : threads;
    return needed.filter((tid) => !cores.has(tid));
  });
}

function idOf(value: WireField['value'] | undefined): number {
  return typeof value === 'bigint' && value > 0n && value <= LAST ? Number(value) : NONE;
}
