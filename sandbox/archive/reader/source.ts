/** Where an archive's bytes come from: a file, a pipe, or either of them through a decompressor. */
import { fstatSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { SiltError } from '../../../errors';
import { decompress, recognise } from './compression';

export interface Source {
  /** Can bytes be left out without reading them? Then {@link fd} has them at the archive's own offsets. */
  readonly seekable: boolean;
  /** The file to move large bodies from without looking at them. */
  readonly fd: number | undefined;
  /** Size of the archive, where it is known before its end. */
  readonly size: number | undefined;
  /** Are there checksums behind the archive's end that only reading on can check? */
  readonly compressed: boolean;
  /** Reads at least one byte, 0 at the end. Only a seekable source looks at `offset`; others go on where they were. */
  read(into: Buffer, offset: number): number | Promise<number>;
  /** Ends decompression; the fd stays open. */
  close(): void;
}

const CHUNK = 256 << 10;
const MAGIC_LENGTH = 6;

const readLater = promisify(read);

/** The archive in `fd`, a regular file (read from its beginning) or a stream in blocking mode. Borrows the fd. */
export async function openSource(fd: number): Promise<Source> {
  const stat = fstatSync(fd);
  const file = stat.isFile();
  const start = Buffer.alloc(MAGIC_LENGTH);
  let length = 0;
  for (let got = 1; length < MAGIC_LENGTH && got > 0; length += got) {
    // A file is read at once: another thread for six bytes would have to be made first.
    got = file ? readNow(fd, start.subarray(length), length) : await readSome(fd, start.subarray(length), null);
  }
  const format = recognise(start.subarray(0, length));
  if (format === undefined && file) return new FileSource(fd, stat.size);
  const chunks = chunksOf(fd, file ? 0 : null, file ? Buffer.alloc(0) : start.subarray(0, length));
  return new StreamSource(format === undefined ? chunks : decompress(format, chunks), format !== undefined);
}

class FileSource implements Source {
  readonly seekable = true;
  readonly compressed = false;

  constructor(
    readonly fd: number,
    readonly size: number,
  ) {}

  read(into: Buffer, offset: number): number {
    return readNow(this.fd, into, offset);
  }

  close(): void {
    // It has nothing of its own.
  }
}

/** Chunks that come one after the other. */
class StreamSource implements Source {
  readonly seekable = false;
  readonly fd = undefined;
  readonly size = undefined;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(
    readonly chunks: AsyncGenerator<Buffer, void>,
    readonly compressed: boolean,
  ) {}

  async read(into: Buffer): Promise<number> {
    while (this.#chunk.length === 0) {
      const next = await this.chunks.next();
      if (next.done) return 0;
      this.#chunk = next.value;
    }
    const count = this.#chunk.copy(into);
    this.#chunk = this.#chunk.subarray(count);
    return count;
  }

  close(): void {
    void this.chunks.return().catch(() => undefined);
  }
}

async function* chunksOf(fd: number, from: number | null, start: Buffer): AsyncGenerator<Buffer, void> {
  if (start.length > 0) yield start;
  for (let position = from; ;) {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const count = await readSome(fd, chunk, position);
    if (count === 0) return;
    if (position !== null) position += count;
    yield chunk.subarray(0, count);
  }
}

function readNow(fd: number, into: Buffer, position: number): number {
  try {
    return readSync(fd, into, 0, into.length, position);
  } catch (error) {
    throw readFailure(error);
  }
}

async function readSome(fd: number, into: Buffer, position: number | null): Promise<number> {
  try {
    return (await readLater(fd, into, 0, into.length, position)).bytesRead;
  } catch (error) {
    throw readFailure(error);
  }
}

function readFailure(error: unknown): SiltError {
  const errno = (error as NodeJS.ErrnoException).code ?? String(error);
  return new SiltError('SYSCALL_FAILED', `reading the archive: ${errno}`, { syscall: 'read', errno }, { cause: error });
}
