/** Which threads CRIU would give their seccomp filters back (CRIU's images/pstree.proto, core.proto, seccomp.proto and seccomp.c). */
import { messageIn, onlyNumber, parseFields, parseImage, type WireField } from './image-file';

const TREE = { pid: 1, threads: 5 } as const;
const CORE = { thread: 5 } as const;
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
    const thread = bytes && messageIn(parseFields(parseImage(bytes, `core-${tid}.img`).entries[0]!), CORE.thread);
    if (thread === undefined || onlyNumber(thread, THREAD.mode) !== FILTERED) return [];
    return chain(filters, Number(onlyNumber(thread, THREAD.filter) ?? -1));
  };
  const isDead = (pid: number): boolean => {
    const bytes = cores.get(pid);
    const core = bytes && parseFields(parseImage(bytes, `core-${pid}.img`).entries[0]!);
    return core !== undefined && !core.some(({ number }) => number === CORE.thread);
  };
  return parseImage(tree, 'pstree.img').entries.flatMap((entry) => {
    const item = parseFields(entry);
    const first = Number(onlyNumber(item, TREE.pid) ?? -1);
    // Of a zombie nothing runs, see credentialsBeyond.
    if (isDead(first)) return [];
    const given = chainOf(first);
    const forAll = given.every(({ ofAllThreads }) => ofAllThreads) ? given.length : 0;
    return [...new Set([first, ...threadsOf(item)])].filter((tid) => {
      const own = tid === first ? given.length : chainOf(tid).length;
      return Math.max(own, forAll) < wanted;
    });
  });
}

function threadsOf(item: readonly WireField[]): number[] {
  const threads = item.filter(({ number }) => number === TREE.threads);
  return threads.map(({ value }) => (typeof value === 'bigint' ? Number(value) : -1));
}

function filtersIn(seccomp: Buffer): Filter[] {
  const [entry = Buffer.alloc(0)] = parseImage(seccomp, 'seccomp.img').entries;
  const messages = parseFields(entry).filter(({ number }) => number === SECCOMP.filters);
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
