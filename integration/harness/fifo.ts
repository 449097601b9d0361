/** A fifo as containerd makes them for a container's streams, and a test's own end of it, which never waits for another one. */
import { closeSync, constants, mkdtempSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from './command';

export class Fifo {
  readonly #fd: number;
  #text = '';

  private constructor(readonly path: string) {
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  }

  /** Makes one in a new directory below this one; to be closed. */
  static async make(directory: string): Promise<Fifo> {
    const path = join(mkdtempSync(join(directory, 'fifo-')), 'fifo');
    await mustRun(['mkfifo', path]);
    return new Fifo(path);
  }

  write(text: string): void {
    writeSync(this.#fd, text);
  }

  /** All that has come. */
  read(): string {
    const bytes = Buffer.alloc(65536);
    try {
      this.#text += bytes.toString('latin1', 0, readSync(this.#fd, bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
    return this.#text;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
