/**
 * Digests of the contents of memory, made while CRIU writes them: they are still in the processor's reach then, and a second processor
 * has nothing else to do. CRIU only adds to the end of these files. Writing them to disk does not begin meanwhile: it takes CRIU processor time
 * and pages. A container that is left running goes on before that; one that ends, and those of a pod, stand still until all is on disk.
 */
import { closeSync, fstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { digestRun, eachDigest, SHARE, tooShort } from './digests';
import { type CheckpointFile, chunking, describeFile, isMemory, MEMORY_CHUNK as CHUNK } from './manifest';

/** How often it is looked what there is, in milliseconds. */
const LOOK_EVERY = 10;
const AT_ONCE = SHARE / CHUNK;

interface Growing {
  readonly path: string;
  readonly fd: number;
  readonly digests: string[];
  /** Set while a thread is at it. */
  working?: Promise<void> | undefined;
}

/** To be ended. */
export class MemoryDigests {
  readonly #files = new Map<string, Growing>();
  readonly #timer: NodeJS.Timeout;
  #stopped = false;

  /** @param directory in which CRIU writes its images */
  constructor(private readonly directory: string) {
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY).unref();
  }

  /** A file that is complete, with the contents of memory or any other. @throws what eachDigest throws, also for a file that has shrunk. */
  async describe(path: string): Promise<CheckpointFile> {
    if (!isMemory({ path })) return describeFile(this.directory, path);
    const file = this.#open(path);
    await this.#stop();
    const { fd, digests } = file;
    const { algorithm } = chunking(path);
    const { size } = fstatSync(fd);
    if (size < digests.length * CHUNK) throw tooShort(path);
    const rest = Array.from({ length: Math.ceil(size / CHUNK) - digests.length }, (_, i) => digests.length + i);
    const chunks = { path, size, chunk: CHUNK, algorithm };
    await eachDigest(fd, chunks, rest, (index, found) => (digests[index] = found));
    return { path, size, chunk: CHUNK, [algorithm]: digests };
  }

  /** Frees everything. */
  async end(): Promise<void> {
    await this.#stop();
    for (const { fd } of this.#files.values()) closeSync(fd);
    this.#files.clear();
  }

  /** Settles when no thread reads any of the files. */
  async #stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const { working } of this.#files.values()) await working;
  }

  #open(path: string): Growing {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const opened = { path, fd: openSync(join(this.directory, path), 'r'), digests: [] };
    this.#files.set(path, opened);
    return opened;
  }

  #look(): void {
    try {
      for (const path of readdirSync(this.directory).filter((name) => isMemory({ path: name })))
        this.#follow(this.#open(path));
    } catch {
      // What it is shows when the file is described, or CRIU fails of it, too.
    }
  }

  /** Has a thread digest the next part that is complete, if none is at it. */
  #follow(file: Growing): void {
    const { fd, path, digests } = file;
    const first = digests.length;
    if (this.#stopped || file.working || fstatSync(fd).size < (first + AT_ONCE) * CHUNK) return;
    const part = { path, size: (first + AT_ONCE) * CHUNK, ...chunking(path) };
    const found: string[] = [];
    file.working = digestRun(fd, part, { first, count: AT_ONCE }, (_, one) => found.push(one))
      .then(
        () => void digests.push(...found),
        // Whoever describes it reads it again, and is told.
        () => undefined,
      )
      .then(() => {
        file.working = undefined;
        if (found.length === AT_ONCE) this.#follow(file);
      });
  }
}
