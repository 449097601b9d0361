/** Where the memory of a checkpoint's processes lies: CRIU's pagemap images (images/pagemap.proto). */
import { numberOf, parseFields, parseImage } from './image-file';
import { type CheckpointFile, imagesOf, type Manifest, readVerified } from './manifest';

export const PAGE = 4096;

/** Pages that follow each other both in memory and in the file. */
export interface PageRun {
  /** Address of the first. */
  readonly start: number;
  /** Behind the last. */
  readonly end: number;
  /** Where the first lies in the file, in bytes. */
  readonly offset: number;
  /** Whether CRIU leaves them out of a restore with lazy pages. */
  readonly lazy: boolean;
}

/** One process's memory, or one piece of shared memory. */
export interface Pagemap {
  /** Name of the file with its pages. */
  readonly pages: string;
  readonly runs: readonly PageRun[];
}

/** PE_LAZY and PE_PRESENT of CRIU's pagemap.h. */
const LAZY = 1 << 1;
const PRESENT = 1 << 2;
const ENTRY = { address: 1, pages32: 2, flags: 4, pages: 5 } as const;

/** Parses a pagemap image. @throws SiltError CHECKPOINT_FAILED when it is none. */
export function parsePagemap(bytes: Buffer): Pagemap {
  const [head = Buffer.alloc(0), ...entries] = parseImage(bytes, 'pagemap').entries;
  return { pages: `pages-${numberOf(parseFields(head), 1)}.img`, runs: runsOf(entries) };
}

/** What the pagemap images of a checkpoint say, each by its name, with the file that its pages are in. @throws SiltError CHECKPOINT_INVALID. */
export function* readPagemaps(
  directory: string,
  manifest: Pick<Manifest, 'version' | 'files'>,
): Generator<{ readonly map: string; readonly runs: readonly PageRun[]; readonly file: CheckpointFile }> {
  const images = imagesOf(manifest);
  for (const [map, listed] of images) {
    if (!map.startsWith('pagemap-')) continue;
    const { pages, runs } = parsePagemap(readVerified(directory, listed));
    const file = images.get(pages);
    if (file !== undefined) yield { map, runs, file };
  }
}

function runsOf(entries: readonly Buffer[]): PageRun[] {
  const runs: PageRun[] = [];
  let offset = 0;
  for (const entry of entries) {
    const fields = parseFields(entry);
    const flags = fields.some(({ number }) => number === ENTRY.flags) ? numberOf(fields, ENTRY.flags) : PRESENT;
    if ((flags & PRESENT) === 0) continue;
    const size = (numberOf(fields, ENTRY.pages) || numberOf(fields, ENTRY.pages32)) * PAGE;
    const start = numberOf(fields, ENTRY.address);
    runs.push({ start, end: start + size, offset, lazy: (flags & LAZY) !== 0 });
    offset += size;
  }
  return runs;
}
