/** A filestore: a sparse file with a filesystem in it, which becomes a container's upper (`--overlay2=root:self`, `root:dir=…`). */
import { closeSync, constants, existsSync, fchmodSync, fchownSync, ftruncateSync, lstatSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'; // prettier-ignore
import { join } from 'node:path';
import { SiltError } from '../../errors';
import {
  AT_FDCWD,
  C,
  cloneTree,
  close,
  fsconfigCreate,
  fsconfigString,
  fsmount,
  fsopen,
  type Kernel,
  mknodat,
  open,
  ProgramBuilder,
} from '../../syscall';
import { formatExt4 } from './ext4';
import { FILESTORES, removeFilestore } from '../state/filestores';
import { attachLoop } from './loop';

/** Not node:crypto's: loading that costs each start of a container several milliseconds, and few have a filestore. */
const randomBytes = (count: number): Buffer => crypto.getRandomValues(Buffer.alloc(count));

export interface Filestore {
  readonly directory: string;
  /** Its name in {@link FILESTORES} there; without one it never has a name. */
  readonly name: string | undefined;
  /** Without it as much as the directory's filesystem has free. */
  readonly sizeBytes: number | undefined;
}

/** Where a filestore is that has a name. */
export function filestorePath(directory: string, name: string): string {
  return join(directory, FILESTORES, name);
}

/** @throws SiltError NO_SPACE, SYSCALL_FAILED naming the directory; HOST_UNSUPPORTED without loop devices. Nothing is left then. */
export function mountFilestore(kernel: Kernel, store: Filestore): number {
  const { directory, name } = store;
  let file: number | undefined;
  try {
    file = createFile(store);
    const image = formatExt4({
      sizeBytes: store.sizeBytes ?? freeBytes(directory),
      uuid: randomBytes(16),
      hashSeed: randomBytes(16),
      time: Math.floor(Date.now() / 1000),
    });
    ftruncateSync(file, image.sizeBytes);
    for (const { offset, bytes } of image.pieces) writeSync(file, bytes, 0, bytes.length, offset);
    return mountFile(kernel, file);
  } catch (error) {
    if (name !== undefined) removeFilestore(filestorePath(directory, name));
    if (error instanceof SiltError) throw error;
    const { code = '' } = error as NodeJS.ErrnoException;
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    const message = `cannot make a filestore in ${directory}: ${code || (error as Error).message}`;
    throw new SiltError(
      full ? 'NO_SPACE' : 'SYSCALL_FAILED',
      message,
      { path: directory, errno: code },
      { cause: error },
    );
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** How often the directory of filestores may go again before there is one in it; each time another container has ended. */
const MAX_ATTEMPTS = 100;

/** What has the name is this container's own from an earlier run: ids are unique. */
function createFile({ directory, name }: Filestore): number {
  const how = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  if (name !== undefined) {
    for (let left = MAX_ATTEMPTS; ; left--) {
      try {
        return createNamed(directory, name, how);
      } catch (error) {
        // Another container's was the last one meanwhile, and its directory went with it.
        const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(directory);
        if (!isGone || left === 0) throw error;
      }
    }
  }
  try {
    return openSync(directory, constants.O_RDWR | C.O_TMPFILE, 0o600);
  } catch (error) {
    if (!['EOPNOTSUPP', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    const path = join(directory, `.silt.filestore.${randomBytes(8).toString('hex')}`);
    const fd = openSync(path, how, 0o600);
    rmSync(path);
    return fd;
  }
}

function createNamed(directory: string, name: string, how: number): number {
  const place = openFilestores(directory);
  try {
    const path = `/proc/self/fd/${place}/${name}`;
    rmSync(path, { force: true });
    return openSync(path, how, 0o600);
  } finally {
    closeSync(place);
  }
}

/** The directory of filestores, made if need be; never what a link leads to, which the image may have in its place. */
function openFilestores(directory: string): number {
  const path = join(directory, FILESTORES);
  try {
    // Not recursive: that follows a link that leads nowhere, and fails as if nothing were there.
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === false) {
      const message = `cannot make a filestore in ${directory}: ${FILESTORES} there is no directory; remove it from the root filesystem, or choose another overlay2`;
      throw new SiltError('ROOTFS_INVALID', message, { path }, { cause: error });
    }
  }
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    fchownSync(fd, 0, 0);
    fchmodSync(fd, 0o700);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

/** Returns the detached mount of the filesystem in the file. */
function mountFile(kernel: Kernel, file: number): number {
  const anonymous = reopenWithoutPath(kernel, file);
  let device: { fd: number; path: string } | undefined;
  try {
    device = attachLoop(kernel, anonymous ?? file);
    const p = new ProgramBuilder();
    p.step(`mounting the filestore on ${device.path}`);
    const context = fsopen(p, 'ext4');
    fsconfigString(p, context, 'source', device.path);
    fsconfigCreate(p, context);
    const mount = fsmount(p, context, C.MOUNT_ATTR_NODEV, 'filestore');
    close(p, context);
    return kernel.run(p.build()).get(mount);
  } finally {
    if (anonymous !== undefined) closeSync(anonymous);
    if (device) closeSync(device.fd);
  }
}

/**
 * /sys/block/loopN/loop/backing_file, which every container can read, shows the file's path as its mount has it. Seen
 * through a mount of the file alone it has none. A file without a name cannot be mounted so: undefined; and has no path to show.
 */
function reopenWithoutPath(kernel: Kernel, file: number): number | undefined {
  const p = new ProgramBuilder();
  p.step('mounting the filestore’s file by itself');
  const tree = cloneTree(p, AT_FDCWD, `/proc/self/fd/${file}`, { tolerate: ['ENOENT', 'EINVAL'] });
  const mounted = kernel.run(p.build()).get(tree);
  if (mounted < 0) return undefined;
  try {
    const again = new ProgramBuilder();
    const fd = open(again.step('opening the filestore'), `/proc/self/fd/${mounted}`, 'O_RDWR');
    return kernel.run(again.build()).get(fd);
  } finally {
    closeSync(mounted);
  }
}

/**
 * A layer that hides the filestores in the layers beneath it: a tmpfs with a whiteout (overlayfs.rst) of their directory.
 * Returns a detached mount.
 */
export function mountCover(kernel: Kernel): number {
  const p = new ProgramBuilder();
  p.step('making a layer that hides filestores');
  const context = fsopen(p, 'tmpfs');
  fsconfigString(p, context, 'source', 'silt-cover');
  fsconfigString(p, context, 'mode', '755');
  fsconfigString(p, context, 'size', '64k');
  fsconfigCreate(p, context);
  const cover = fsmount(p, context, C.MOUNT_ATTR_NODEV, 'cover');
  mknodat(p, cover, FILESTORES, 'S_IFCHR', 0, 0);
  close(p, context);
  return kernel.run(p.build()).get(cover);
}
