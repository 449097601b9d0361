/** Digests of large files, made beside the event loop. */
import { read, readSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { SiltError } from '../../errors';

/** A file in chunks of so many bytes, the last one shorter. */
export interface Chunks {
  readonly path: string;
  readonly size: number;
  readonly chunk: number;
}

/** Up to this many bytes hashing them here takes less time than loading what else there is. */
const SMALL = 1 << 20;
/** How much is read at once. */
const BATCH = 16 << 20;
/** From this many bytes on threads are started for it: WebCrypto copies what it is given, which takes as long as the hashing. */
const LARGE = 64 << 20;
const THREADS = 2;

/**
 * SHA-256 of chunks of a file, in hexadecimal; of a large one on other threads and while the next bytes are read: for somebody who waits for it, this
 * takes as long as reading or as hashing, not both, and the event loop goes on.
 * @throws SiltError CHECKPOINT_INVALID for a file that is shorter than it should be; what `onDigest` throws.
 */
export async function eachDigest(
  file: number,
  chunks: Chunks,
  indexes: readonly number[],
  onDigest: (index: number, digest: string) => void,
): Promise<void> {
  const { size, chunk } = chunks;
  if (Math.min(size, indexes.length * chunk) <= SMALL) {
    digestHere(file, chunks, indexes, onDigest);
    return;
  }
  if (indexes.length * chunk < LARGE) return digestAside(file, chunks, indexes, onDigest);
  const share = Math.ceil(indexes.length / THREADS);
  const parts = Array.from({ length: THREADS }, (_, i) => indexes.slice(i * share, (i + 1) * share));
  // All of them, whatever one says: the caller closes the file then.
  const ends = await Promise.allSettled(parts.map((part) => digestInThread(file, chunks, part, onDigest)));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
}

function digestHere(
  file: number,
  { path, size, chunk }: Chunks,
  indexes: readonly number[],
  onDigest: (index: number, digest: string) => void,
): void {
  for (const index of indexes) {
    const bytes = Buffer.allocUnsafe(Math.min(chunk, size - index * chunk));
    for (let filled = 0; filled < bytes.length;) {
      const count = readSync(file, bytes, filled, bytes.length - filled, index * chunk + filled);
      if (count === 0) throw tooShort(path);
      filled += count;
    }
    onDigest(index, createHash('sha256').update(bytes).digest('hex'));
  }
}

/** What a thread runs; it is small enough to need no bundle of its own. */
const THREAD = `
const { readSync } = require('node:fs');
const { createHash } = require('node:crypto');
const { parentPort, workerData: { fd, size, chunk, indexes } } = require('node:worker_threads');
const buffer = Buffer.allocUnsafeSlow(chunk);
for (const index of indexes) {
  const length = Math.min(chunk, size - index * chunk);
  let filled = 0;
  for (let count = 1; filled < length && count > 0; filled += count)
    count = readSync(fd, buffer, filled, length - filled, index * chunk + filled);
  const digest = filled < length ? undefined : createHash('sha256').update(buffer.subarray(0, length)).digest('hex');
  parentPort.postMessage({ index, digest });
}
`;

async function digestInThread(
  fd: number,
  { path, size, chunk }: Chunks,
  indexes: readonly number[],
  onDigest: (index: number, digest: string) => void,
): Promise<void> {
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  const worker = new Worker(THREAD, { eval: true, workerData: { fd, size, chunk, indexes } });
  try {
    await new Promise<void>((resolve, reject) => {
      worker.on('message', ({ index, digest }: { index: number; digest?: string }) => {
        try {
          if (digest === undefined) throw tooShort(path);
          onDigest(index, digest);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
      worker.on('error', reject);
      worker.on('exit', () => resolve());
    });
  } finally {
    // The file must not be closed under it.
    await worker.terminate();
  }
}

async function digestAside(
  file: number,
  { path, size, chunk }: Chunks,
  indexes: readonly number[],
  onDigest: (index: number, digest: string) => void,
): Promise<void> {
  const { webcrypto } = process.getBuiltinModule('node:crypto');
  const most = Math.max(1, Math.floor(BATCH / chunk));
  let before = Promise.resolve();
  for (let at = 0; at < indexes.length;) {
    let count = 1;
    while (count < most && indexes[at + count] === indexes[at]! + count) count++;
    const first = indexes[at]!;
    const bytes = await readPart(file, path, first * chunk, Math.min((first + count) * chunk, size));
    await before;
    before = (async () => {
      const parts = Array.from({ length: count }, (_, i) => bytes.subarray(i * chunk, (i + 1) * chunk));
      const digests = await Promise.all(parts.map((part) => webcrypto.subtle.digest('SHA-256', part)));
      digests.forEach((one, i) => onDigest(first + i, Buffer.from(one).toString('hex')));
    })();
    // Whoever waits for it hears of it; until then the next part is read.
    before.catch(() => undefined);
    at += count;
  }
  await before;
}

const readLater = promisify(read);

async function readPart(file: number, path: string, from: number, to: number): Promise<Buffer<ArrayBuffer>> {
  const bytes = Buffer.allocUnsafeSlow(to - from);
  for (let filled = 0; filled < bytes.length;) {
    const { bytesRead } = await readLater(file, bytes, filled, bytes.length - filled, from + filled);
    if (bytesRead === 0) throw tooShort(path);
    filled += bytesRead;
  }
  return bytes;
}

function tooShort(path: string): SiltError {
  return new SiltError('CHECKPOINT_INVALID', `${path} became shorter while it was read`, { path });
}
