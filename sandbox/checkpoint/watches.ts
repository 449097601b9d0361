/**
 * What processes watch with inotify. The kernel tells device and inode of what is watched; a file handle, by which CRIU would find
 * its path, cannot be opened on an overlay. So silt looks for the paths and writes them to CRIU's cache of such findings.
 */
import { closeSync, constants, type Dirent, openSync, promises, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { Breath } from '../checkpoint-image/breath';
import { encodeFields, writeImage } from '../checkpoint-image/image-file';
import { commandOf } from '../process/process';
import { fdsOf, linkOf, type MountInfo } from './outside';

/** CRIU reads it from the directory that it dumps to. */
export const IRMAP_CACHE = 'irmap-cache';
/** IMG_SERVICE_MAGIC and IRMAP_CACHE_MAGIC of CRIU's magic.h. */
const MAGIC = Buffer.from([0x40, 0x59, 0x10, 0x55, 0x59, 0x40, 0x00, 0x57]);
/** Number of minor bits in the kernel's own device numbers (include/linux/kdev_t.h), which fdinfo and CRIU have. */
const MINOR_BITS = 20;

interface Watch {
  readonly pid: number;
  readonly device: number;
  readonly inode: number;
}

/** Watches of a process, from /proc/PID/fdinfo (proc_pid_fdinfo(5), "inotify"). */
export function parseWatches(pid: number, fdinfo: string): Watch[] {
  return [...fdinfo.matchAll(/^inotify wd:\S+ ino:([0-9a-f]+) sdev:([0-9a-f]+) /gm)].map(
    ([, inode = '', device = '']) => ({ pid, device: parseInt(device, 16), inode: parseInt(inode, 16) }),
  );
}

/**
 * Writes CRIU's cache with the paths of all directories of overlays that the processes watch.
 * @throws SiltError CHECKPOINT_FAILED naming process and file for a watch whose path cannot be found.
 */
export async function describeWatches(
  pids: readonly number[],
  mounts: readonly MountInfo[],
  images: string,
): Promise<void> {
  const breath = new Breath();
  const watches: Watch[] = [];
  for (const pid of pids) {
    watches.push(...watchesOf(pid));
    await breath.take();
  }
  const entries: Buffer[] = [];
  for (const mount of mounts.filter(({ type }) => type === 'overlay')) {
    const [major = 0, minor = 0] = mount.device.split(':').map(Number);
    const here = watches.filter(({ device }) => device === (major << MINOR_BITS) + minor);
    if (here.length === 0) continue;
    const search = new Search(`/proc/${here[0]!.pid}/root`, mount.point, here);
    await search.run();
    for (const [{ device, inode }, path] of search.found) {
      entries.push(
        encodeFields([
          { number: 1, wireType: 0, value: BigInt(device) },
          { number: 2, wireType: 0, value: BigInt(inode) },
          { number: 3, wireType: 2, value: Buffer.from(path) },
        ]),
      );
    }
  }
  if (entries.length > 0) writeImage(join(images, IRMAP_CACHE), { magic: MAGIC, entries });
}

function watchesOf(pid: number): Watch[] {
  return fdsOf(pid).flatMap((fd) => {
    if (linkOf(`/proc/${pid}/fd/${fd}`) !== 'anon_inode:inotify') return [];
    try {
      return parseWatches(pid, readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'));
    } catch {
      return [];
    }
  });
}

/** Looks for directories by their inodes, from directory to directory by fds: a symlink made meanwhile leads nowhere. */
class Search {
  readonly found = new Map<Watch, string>();
  readonly #wanted: Map<number, Watch>;
  #file: string | undefined;
  #device = 0;

  constructor(
    private readonly root: string,
    private readonly point: string,
    watches: readonly Watch[],
  ) {
    this.#wanted = new Map(watches.map((watch) => [watch.inode, watch]));
  }

  /** @throws SiltError CHECKPOINT_FAILED when something was not found. */
  async run(): Promise<void> {
    const top = openSync(join(this.root, this.point), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const { dev, ino } = await promises.lstat(`/proc/self/fd/${top}/.`);
      this.#device = dev;
      this.#note(ino, this.point);
      await this.#walk(top, this.point);
    } finally {
      closeSync(top);
    }
    const [missing] = this.#wanted.values();
    if (missing === undefined) return;
    const what = this.#file ?? `a file that has been deleted or is out of sight (inode ${missing.inode})`;
    const message = `process ${missing.pid} (${commandOf(missing.pid)}) watches ${what} with inotify; on an overlay only watches of directories can be saved`;
    throw new SiltError('CHECKPOINT_FAILED', message, { path: what });
  }

  async #walk(directory: number, path: string): Promise<void> {
    for (const entry of await entriesOf(directory)) {
      if (this.#wanted.size === 0) return;
      const name = join(path, entry.name);
      const here = `/proc/self/fd/${directory}/${entry.name}`;
      const stat = await promises.lstat(here).catch(() => undefined);
      if (stat === undefined) continue;
      if (!stat.isDirectory()) {
        if (this.#wanted.has(stat.ino)) this.#file ??= name;
        continue;
      }
      if (stat.dev !== this.#device) continue;
      this.#note(stat.ino, name);
      const fd = openIfDirectory(here);
      if (fd === undefined) continue;
      try {
        await this.#walk(fd, name);
      } finally {
        closeSync(fd);
      }
    }
  }

  #note(inode: number, path: string): void {
    const watch = this.#wanted.get(inode);
    if (watch === undefined) return;
    this.found.set(watch, path);
    this.#wanted.delete(inode);
  }
}

async function entriesOf(directory: number): Promise<Dirent[]> {
  return promises.readdir(`/proc/self/fd/${directory}`, { withFileTypes: true }).catch(() => []);
}

function openIfDirectory(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch {
    return undefined;
  }
}
