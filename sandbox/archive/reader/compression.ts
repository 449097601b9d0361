/** Compressed archives, recognised by their first bytes: gzip and zstd are read, others are named in the error. */
import type * as zlib from 'node:zlib';
import { SiltError } from '../../../errors';
import { archiveInvalid, archiveTruncated } from '../faults';

export type Compression = 'gzip' | 'zstd';

const MAGIC: readonly (readonly [start: RegExp, format: string])[] = [
  [/^1f8b/, 'gzip'],
  // The second one is a frame to skip, with which pzstd begins.
  [/^(28b52ffd|5[0-9a-f]2a4d18)/, 'zstd'],
  [/^fd377a585a00/, 'xz'],
  [/^425a68/, 'bzip2'],
];

/** Output comes in pieces of this size. */
const CHUNK = 256 << 10;

/** Which compression the file has that begins with `start`; none: it is a plain archive, or no archive at all. */
export function recognise(start: Buffer): Compression | undefined {
  const hex = start.toString('hex');
  const format = MAGIC.find(([pattern]) => pattern.test(hex))?.[1];
  if (format === undefined || format === 'gzip' || format === 'zstd') return format;
  throw archiveInvalid(
    { offset: 0 },
    `it is compressed with ${format}, which is not supported; use gzip, zstd or none`,
  );
}

/** The decompressed bytes. Memory is bounded by the format's own window (zstd: at most 128 MiB, usually 8). */
export async function* decompress(format: Compression, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void> {
  // Loaded for those archives that need it, as zlib is.
  const { pipeline, Readable } = process.getBuiltinModule('node:stream');
  const input = new Input(chunks);
  let offset = 0;
  // Node reads all members of a gzip file, but only the first frame of a zstd file.
  while (await input.more()) {
    const unpacker = create(format);
    // An error of either stream comes out of the iteration below.
    pipeline(Readable.from(input.frame(() => unpacker.bytesWritten)), unpacker, () => undefined);
    try {
      for await (const chunk of unpacker as AsyncIterable<Buffer>) {
        yield chunk;
        offset += chunk.length;
      }
    } catch (error) {
      throw decompressionFailure(error, format, offset);
    } finally {
      unpacker.destroy();
    }
    if (format === 'gzip') return;
    input.consumed(unpacker.bytesWritten);
  }
}

/** Compressed bytes that were handed to a decompressor but may belong to the next one. */
class Input {
  readonly #chunks: AsyncIterator<Buffer>;
  #pending: Buffer[] = [];
  /** How many bytes of the frame lie in front of the pending ones. */
  #before = 0;

  constructor(chunks: AsyncIterator<Buffer>) {
    this.#chunks = chunks;
  }

  async more(): Promise<boolean> {
    return this.#pending.length > 0 || (await this.#pull()) !== undefined;
  }

  async *frame(used: () => number): AsyncGenerator<Buffer, void> {
    yield* [...this.#pending];
    for (let chunk = await this.#pull(); chunk !== undefined; chunk = await this.#pull()) {
      yield chunk;
      while (this.#pending.length > 0 && this.#before + this.#pending[0]!.length <= used()) this.#drop();
    }
  }

  /** The frame ended after so many bytes; the next one starts there. */
  consumed(count: number): void {
    while (this.#pending.length > 0 && this.#before + this.#pending[0]!.length <= count) this.#drop();
    if (this.#pending.length > 0) this.#pending[0] = this.#pending[0]!.subarray(count - this.#before);
    this.#before = 0;
  }

  #drop(): void {
    this.#before += this.#pending.shift()!.length;
  }

  async #pull(): Promise<Buffer | undefined> {
    const next = await this.#chunks.next();
    if (next.done) return undefined;
    this.#pending.push(next.value);
    return next.value;
  }
}

/** zstd: of Node 22.15 and later. */
type Compressions = Pick<typeof zlib, 'createGunzip'> & Partial<Pick<typeof zlib, 'createZstdDecompress'>>;
type Decompressor = zlib.Gunzip | zlib.ZstdDecompress;

function create(format: Compression): Decompressor {
  const { createGunzip, createZstdDecompress } = process.getBuiltinModule('node:zlib') as Compressions;
  if (format === 'gzip') return createGunzip({ chunkSize: CHUNK });
  if (createZstdDecompress) return createZstdDecompress({ chunkSize: CHUNK });
  const problem = `the archive is compressed with zstd, which Node ${process.version} cannot read`;
  throw new SiltError('HOST_UNSUPPORTED', `${problem}; use gzip or Node 22.15 or later`);
}

function decompressionFailure(error: unknown, format: Compression, offset: number): unknown {
  if (error instanceof SiltError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (code === 'Z_BUF_ERROR') return archiveTruncated({ offset }, `the ${format} data ends too early`);
  if (/^(Z_|ZSTD_)/.test(code)) return archiveInvalid({ offset }, `the ${format} data is damaged (${message})`);
  return error;
}
