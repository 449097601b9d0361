/** Digests of files, made beside the event loop. */
import { readSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { SiltError } from '../../errors';
import { loadNative } from '../../native';

/**
 * GMAC is for what is large: it takes a tenth of the processor's time. Both find damage; who wants to can make other bytes with the same GMAC.
 */
export type Algorithm = 'sha256' | 'gmac';

/** A file in chunks of so many bytes, the last one shorter. */
export interface Chunks {
  readonly path: string;
  readonly size: number;
  readonly chunk: number;
  readonly algorithm: Algorithm;
}

/** Told of each digest, in hexadecimal. */
export type OnDigest = (index: number, digest: string) => void;

/** Up to this many bytes, handing them to a thread takes longer than hashing them. */
const SMALL = 256 << 10;
/** What a thread is given at once: damage is found soon, and the threads end at the same time. */
export const SHARE = 8 << 20;
/** libuv has four by default, which other work may need for a moment, too. */
const THREADS = Math.min(4, availableParallelism());
/** Bytes of a digest. */
const SIZE: Readonly<Record<Algorithm, number>> = { sha256: 32, gmac: 16 };

/** Digest of a few bytes, in hexadecimal. */
export function digest(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): string {
  return Buffer.from(loadNative()[algorithm](bytes).buffer).toString('hex');
}

/**
 * Digests of chunks of a file, of a large one on other threads.
 * @param indexes of the chunks, ascending
 * @throws SiltError CHECKPOINT_INVALID for a file that is shorter than it should be, SYSCALL_FAILED for one that cannot be read; what
 * `onDigest` throws. The file is not used any more then.
 */
export async function eachDigest(
  file: number,
  chunks: Chunks,
  indexes: readonly number[],
  onDigest: OnDigest,
): Promise<void> {
  const { size, chunk } = chunks;
  if (Math.min(size, indexes.length * chunk) <= SMALL) {
    digestHere(file, chunks, indexes, onDigest);
    return;
  }
  const runs = consecutive(indexes, Math.max(1, Math.floor(SHARE / chunk)));
  let failure: { readonly error: unknown } | undefined;
  const work = async (): Promise<void> => {
    for (let run = runs.shift(); run !== undefined && failure === undefined; run = runs.shift()) {
      try {
        await digestRun(file, chunks, run, onDigest);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: THREADS }, work));
  if (failure) throw failure.error;
}

/** Chunks that follow each other. */
export interface Run {
  readonly first: number;
  readonly count: number;
}

function consecutive(indexes: readonly number[], most: number): Run[] {
  const runs: { first: number; count: number }[] = [];
  for (const index of indexes) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === index && last.count < most) last.count++;
    else runs.push({ first: index, count: 1 });
  }
  return runs;
}

/** @throws as {@link eachDigest}. */
export async function digestRun(
  file: number,
  { path, size, chunk, algorithm }: Chunks,
  { first, count }: Run,
  onDigest: OnDigest,
): Promise<void> {
  const bytes = SIZE[algorithm];
  const out = Buffer.alloc(count * bytes);
  const [start, end] = [first * chunk, Math.min((first + count) * chunk, size)];
  const [made, errno] = await new Promise<[number, number]>((resolve) =>
    loadNative().digestChunks(file, start, end, chunk, out, algorithm === 'gmac', (...result) => resolve(result)),
  );
  for (let i = 0; i < made; i++) onDigest(first + i, out.toString('hex', i * bytes, (i + 1) * bytes));
  if (errno !== 0) {
    const name = getSystemErrorName(-errno);
    throw new SiltError('SYSCALL_FAILED', `cannot read ${path}: ${name}`, { path, syscall: 'pread', errno: name });
  }
  if (made < count) throw tooShort(path);
}

function digestHere(
  file: number,
  { path, size, chunk, algorithm }: Chunks,
  indexes: readonly number[],
  onDigest: OnDigest,
): void {
  for (const index of indexes) {
    const bytes = Buffer.allocUnsafe(Math.min(chunk, size - index * chunk));
    for (let filled = 0; filled < bytes.length;) {
      const count = readSync(file, bytes, filled, bytes.length - filled, index * chunk + filled);
      if (count === 0) throw tooShort(path);
      filled += count;
    }
    onDigest(index, digest(bytes, algorithm));
  }
}

export function tooShort(path: string): SiltError {
  return new SiltError('CHECKPOINT_INVALID', `${path} became shorter while it was read`, { path });
}
