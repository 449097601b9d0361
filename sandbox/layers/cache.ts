/**
 * A directory of layers. Whatever process dies when, and however many work on it at once, a layer that can be found is whole:
 *
 *     KEY/         a layer: `fs` is its root, `layer.json` what is known of it, `users/` has a file for each container on it
 *     KEY.new/     one that is being made; whoever makes it has it locked (flock(2)), and renames it when it is done
 *     KEY.copy     the archive cannot be shared (it has device nodes, say): it is copied each time
 *     *.old/       one that is being deleted
 *
 * A user's file is named after the pod's sandbox, with the time of its start, so that one whose pod is gone counts for nothing.
 */
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rm, rmSync, statSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Kernel, lock, tryLock } from '../../syscall';
import { isSameProcess, type RecordedProcess } from '../state/state';

/** `layer.json`. */
export interface LayerNotes {
  /** What it takes on disk, roughly. */
  readonly bytes: number;
  /** Did the archive say what the root directory is like? */
  readonly hasRoot: boolean;
}

/** A layer that a container lies on. */
export interface UsedLayer extends LayerNotes {
  /** Its root directory. */
  readonly path: string;
  /** The file that keeps it from being dropped. */
  readonly use: string;
}

export interface LayerUser {
  /** The pod's sandbox: as long as it lives the layer is in use. */
  readonly sandbox: RecordedProcess;
  readonly container: string;
}

const NOTES = 'layer.json';
const remove = promisify(rm);

export class LayerCache {
  constructor(
    private readonly kernel: Kernel,
    readonly directory: string,
  ) {}

  /** @throws when the directory cannot be made. */
  open(): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
  }

  /** The layer, if there is one, with a file that says that it is used. */
  use(key: string, { sandbox, container }: LayerUser): UsedLayer | undefined {
    const layer = join(this.directory, key);
    const fd = ifThere(() => openSync(layer, 'r'));
    if (fd === undefined) return undefined;
    try {
      const name = join('users', `${sandbox.pid}.${sandbox.startTime}.${container}`);
      const opened = `/proc/self/fd/${fd}`;
      writeFileSync(join(opened, name), '');
      // Only now is it certain that it is not being dropped: see #drop, which looks for users again once it has another name.
      if (ifThere(() => statSync(layer).ino) !== fstatSync(fd).ino) {
        rmSync(join(opened, name), { force: true });
        return undefined;
      }
      return { ...readNotes(layer)!, path: join(layer, 'fs'), use: join(layer, name) };
    } finally {
      closeSync(fd);
    }
  }

  /** Has it been found out that this archive cannot be shared? */
  isToBeCopied(key: string): boolean {
    return ifThere(() => statSync(this.#copyMark(key))) !== undefined;
  }

  markToBeCopied(key: string): void {
    writeFileSync(this.#copyMark(key), '');
  }

  #copyMark(key: string): string {
    return join(this.directory, `${key}.copy`);
  }

  /**
   * Makes a layer, unless another process has made it, or was making it while this one waited. `fill` is given its root
   * directory, empty; when it throws, nothing of the layer stays.
   */
  async make(key: string, fill: (root: string) => Promise<LayerNotes>): Promise<void> {
    const [layer, making] = [join(this.directory, key), join(this.directory, `${key}.new`)];
    for (;;) {
      mkdirSync(making, { recursive: true, mode: 0o700 });
      const fd = ifThere(() => openSync(making, 'r'));
      if (fd === undefined) continue;
      try {
        await lock(this.kernel, fd);
        if (ifThere(() => statSync(layer)) || this.isToBeCopied(key)) return;
        // The one before was not successful, and has cleared up.
        if (ifThere(() => statSync(making).ino) !== fstatSync(fd).ino) continue;
        await this.#fill(making, fill);
        renameSync(making, layer);
        return;
      } catch (error) {
        await remove(making, { recursive: true, force: true });
        throw error;
      } finally {
        closeSync(fd);
      }
    }
  }

  async #fill(making: string, fill: (root: string) => Promise<LayerNotes>): Promise<void> {
    // What is left of a process that died.
    for (const name of readdirSync(making)) await remove(join(making, name), { recursive: true });
    mkdirSync(join(making, 'fs'));
    mkdirSync(join(making, 'users'));
    const notes = await fill(join(making, 'fs'));
    writeFileSync(join(making, NOTES), JSON.stringify(notes));
  }

  /** Bytes of the layers that containers lie on. */
  bytesInUse(): number {
    return this.#layers().reduce((sum, { name, bytes }) => sum + (this.#isUsed(name) ? bytes : 0), 0);
  }

  /** Drops the layers that were used longest ago until all together have no more than `limit` bytes, and what is left of dead processes. */
  async trim(limit: number): Promise<void> {
    const layers = this.#layers().sort((a, b) => a.lastUse - b.lastUse);
    let total = layers.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { name, bytes } of layers) {
      if (total <= limit) break;
      if (await this.#drop(name)) total -= bytes;
    }
    for (const name of readdirSync(this.directory)) {
      if (name.endsWith('.old')) await this.#delete(name);
      if (name.endsWith('.new')) await this.#deleteIfAbandoned(name);
    }
  }

  /** @returns whether it was dropped: not when it is used. */
  async #drop(name: string): Promise<boolean> {
    if (this.#isUsed(name)) return false;
    const [layer, old] = [join(this.directory, name), `${name}.${process.pid}-${process.hrtime.bigint()}.old`];
    try {
      renameSync(layer, join(this.directory, old));
      if (this.#isUsed(old)) {
        renameSync(join(this.directory, old), layer);
        return false;
      }
    } catch {
      // Another process was faster, or has made the layer anew meanwhile: then the user has looked for it in vain.
    }
    await this.#delete(old);
    return true;
  }

  async #delete(name: string): Promise<void> {
    await remove(join(this.directory, name), { recursive: true, force: true });
  }

  async #deleteIfAbandoned(name: string): Promise<void> {
    const fd = ifThere(() => openSync(join(this.directory, name), 'r'));
    if (fd === undefined) return;
    try {
      if (tryLock(this.kernel, fd)) await this.#delete(name);
    } finally {
      closeSync(fd);
    }
  }

  #isUsed(name: string): boolean {
    const users = ifThere(() => readdirSync(join(this.directory, name, 'users'))) ?? [];
    return users.some((user) => {
      const [pid = '', startTime = ''] = user.split('.');
      return isSameProcess({ pid: Number(pid), startTime });
    });
  }

  #layers(): { name: string; bytes: number; lastUse: number }[] {
    const names = readdirSync(this.directory).filter((name) => !name.includes('.'));
    return names.flatMap((name) => {
      const layer = join(this.directory, name);
      const notes = readNotes(layer);
      const lastUse = ifThere(() => statSync(join(layer, 'users')).mtimeMs);
      return notes && lastUse !== undefined ? [{ name, bytes: notes.bytes, lastUse }] : [];
    });
  }
}

/** Says that a container lies on the layer no more. */
export function release(use: string): void {
  rmSync(use, { force: true });
}

function readNotes(layer: string): LayerNotes | undefined {
  return ifThere(() => JSON.parse(readFileSync(join(layer, NOTES), 'utf8')) as LayerNotes);
}

function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
