import { closeSync, readSync } from 'node:fs';
import { digest } from '../checkpoint-image/digests';
import { type CheckpointFile, damaged, digestsOf } from '../checkpoint-image/manifest';

/** How many bytes of chunks that were read stay, since the next fault is often close to the last one. */
const KEPT_BYTES = 16 << 20;

/** A file of a checkpoint that is read a chunk at a time: nothing of a chunk is given away before its digest was found right. */
export class VerifiedFile {
  /** In order of their last use. */
  readonly #chunks = new Map<number, Buffer>();

  /** Keeps `fd`. @param directory the checkpoint's, for messages */
  constructor(
    private readonly fd: number,
    private readonly directory: string,
    private readonly file: CheckpointFile,
  ) {}

  /** Up to `size` bytes from `offset` on, as many as are in that chunk. @throws SiltError CHECKPOINT_INVALID naming file and place. */
  read(offset: number, size: number): Buffer {
    const index = Math.floor(offset / this.file.chunk);
    const at = offset - index * this.file.chunk;
    return this.#chunk(index).subarray(at, at + size);
  }

  close(): void {
    closeSync(this.fd);
  }

  #chunk(index: number): Buffer {
    const bytes = this.#chunks.get(index) ?? this.#load(index);
    this.#chunks.delete(index);
    this.#chunks.set(index, bytes);
    const most = Math.max(1, Math.floor(KEPT_BYTES / this.file.chunk));
    for (const old of this.#chunks.keys()) {
      if (this.#chunks.size <= most) break;
      this.#chunks.delete(old);
    }
    return bytes;
  }

  #load(index: number): Buffer {
    const { chunk, size } = this.file;
    const { algorithm, digests } = digestsOf(this.file);
    const start = index * chunk;
    const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(chunk, size - start)));
    let filled = 0;
    while (filled < bytes.length) {
      const count = readSync(this.fd, bytes, filled, bytes.length - filled, start + filled);
      if (count === 0) break;
      filled += count;
    }
    const found = digest(bytes.subarray(0, filled), algorithm);
    if (found !== digests[index]) throw damaged(this.directory, this.file, index);
    return bytes;
  }
}
