import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SiltError } from '../../errors';
import { AT_FDCWD, C, type Kernel, ProgramBuilder } from '../../syscall';

/**
 * A file that is written before it has its name, so that the name never shows half of it. It has none at all until then (O_TMPFILE,
 * open(2)): whoever writes it may be killed and leaves nothing. On a filesystem that cannot do that it has another name beside.
 */
export class SnapshotTarget {
  #named: boolean;
  readonly #onExit = (): void => rmSync(this.temporary, { force: true });

  private constructor(
    private readonly kernel: Kernel,
    private readonly file: string,
    private readonly temporary: string,
    readonly fd: number,
    named: boolean,
  ) {
    this.#named = named;
    if (named) process.once('exit', this.#onExit);
  }

  /** To be closed. @throws SiltError REQUEST_INVALID. */
  static open(kernel: Kernel, file: string): SnapshotTarget {
    const directory = dirname(file);
    const temporary = join(directory, `.${basename(file).slice(0, 200)}.silt-${process.pid}`);
    try {
      const nameless = openNameless(directory);
      if (nameless !== undefined) return new SnapshotTarget(kernel, file, temporary, nameless, false);
      const how = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      return new SnapshotTarget(kernel, file, temporary, openSync(temporary, how, 0o600), true);
    } catch (error) {
      const message = `cannot create the snapshot ${file}: ${(error as Error).message}`;
      throw new SiltError('REQUEST_INVALID', message, { path: file }, { cause: error });
    }
  }

  /** Gives the file its name, in place of what has it now, once all of it is on disk. */
  publish(): void {
    fsyncSync(this.fd);
    if (!this.#named) this.#nameIt();
    if (this.#named) renameSync(this.temporary, this.file);
    process.removeListener('exit', this.#onExit);
    this.#named = false;
    const directory = openSync(dirname(this.file), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }

  /** A link cannot replace a file: where there is one, the new one is linked beside it. */
  #nameIt(): void {
    if (this.#link(this.file)) return;
    process.once('exit', this.#onExit);
    rmSync(this.temporary, { force: true });
    this.#link(this.temporary);
    this.#named = true;
  }

  /** @returns false when something has the name. */
  #link(path: string): boolean {
    const p = new ProgramBuilder();
    const result = p.slot('result');
    const from = p.string(`/proc/self/fd/${this.fd}`);
    p.step(`naming ${path}`);
    p.call('linkat', [AT_FDCWD, from, AT_FDCWD, p.string(path), C.AT_SYMLINK_FOLLOW], {
      out: result,
      tolerate: ['EEXIST'],
    });
    return this.kernel.run(p.build()).get(result) === 0;
  }

  close(): void {
    process.removeListener('exit', this.#onExit);
    if (this.#named) rmSync(this.temporary, { force: true });
    closeSync(this.fd);
  }
}

/** `undefined` where the filesystem has no files without names. */
function openNameless(directory: string): number | undefined {
  try {
    return openSync(directory, constants.O_WRONLY | C.O_TMPFILE, 0o600);
  } catch (error) {
    if (['EOPNOTSUPP', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
