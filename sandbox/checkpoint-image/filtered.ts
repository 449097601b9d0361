/** Which threads CRIU would give their seccomp filters back (CRIU's images/core.proto, seccomp.proto and seccomp.c). */
import { firstEntry, messageIn, onlyNumber, parseFields } from './image-file';
import { CORE, isDead, processesIn } from './process-tree';

const THREAD = { mode: 11, filter: 12 } as const;
const SECCOMP = { filters: 1 } as const;
const FILTER = { previous: 2, flags: 3 } as const;
/** SECCOMP_MODE_FILTER and SECCOMP_FILTER_FLAG_TSYNC. */
const FILTERED = 2n;
const ALL_THREADS = 1n;

/** Images whose digests were found right. */
export interface FilterImages {
  readonly tree: Buffer;
  /** None: there are no filters. */
  readonly seccomp: Buffer | undefined;
  /** Core images by their thread ids. */
  readonly cores: ReadonlyMap<number, Buffer>;
}

interface Filter {
  readonly previous: number | undefined;
  readonly ofAllThreads: boolean;
}

/**
 * Ids of threads that would have fewer filters than `wanted`. Where all threads of a process have the same ones, CRIU saves only those of the
 * first, which has the kernel give them to all.
 * @throws SiltError CHECKPOINT_FAILED for what are no such images.
 */
export function threadsWithLess(wanted: number, { tree, seccomp, cores }: FilterImages): number[] {
  const filters = seccomp === undefined ? [] : filtersIn(seccomp);
  const chainOf = (tid: number): Filter[] => {
    const bytes = cores.get(tid);
    const thread = bytes && messageIn(firstEntry(bytes, `core-${tid}.img`), CORE.thread);
    if (thread === undefined || onlyNumber(thread, THREAD.mode) !== FILTERED) return [];
    return chain(filters, Number(onlyNumber(thread, THREAD.filter) ?? -1));
  };
  return processesIn(tree).flatMap(({ pid: first, threads }) => {
    if (isDead(cores.get(first))) return [];
    const given = chainOf(first);
    const forAll = given.every(({ ofAllThreads }) => ofAllThreads) ? given.length : 0;
    return threads.filter((tid) => {
      const own = tid === first ? given.length : chainOf(tid).length;
      return Math.max(own, forAll) < wanted;
    });
  });
}

function filtersIn(seccomp: Buffer): Filter[] {
  const messages = firstEntry(seccomp, 'seccomp.img').filter(({ number }) => number === SECCOMP.filters);
  return messages.map(({ value }) => {
    const fields = Buffer.isBuffer(value) ? parseFields(value) : [];
    const previous = onlyNumber(fields, FILTER.previous);
    return {
      previous: previous === undefined ? undefined : Number(previous),
      ofAllThreads: ((onlyNumber(fields, FILTER.flags) ?? 0n) & ALL_THREADS) !== 0n,
    };
  });
}

/** A filter and those that were there before it; empty when one of them does not exist. */
function chain(filters: readonly Filter[], last: number): Filter[] {
  const found: Filter[] = [];
  for (let at: number | undefined = last; at !== undefined; at = filters[at]!.previous) {
    if (filters[at] === undefined || found.length > filters.length) return [];
    found.push(filters[at]!);
  }
  return found;
}
