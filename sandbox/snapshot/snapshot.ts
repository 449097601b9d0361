import { closeSync, constants, fstatSync, openSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { SiltError, withContext } from '../../errors';
import type { Kernel } from '../../syscall';
import { type OnWarning, pack, type SharedSeed } from '../archive';
import { FreezeRecord } from '../state/freeze';
import { ImageView } from '../mounts/image-view';
import { mountLayer } from '../layers';
import { type OnProgress, watchProgress } from '../progress';
import { SnapshotTarget } from './target';
import { type ContainerState, isSameProcess, type PodState, type StateDirectory } from '../state/state';

export interface SnapshotOptions {
  readonly kernel: Kernel;
  readonly state: StateDirectory;
  /** A container's id, or a prefix of one. */
  readonly id: string;
  /** Do not freeze the container: files that are being written may be torn. */
  readonly live: boolean;
  /** Told of files that an archive cannot hold or that changed while they were read. */
  readonly onWarning: (message: string) => void;
  /** Told how many bytes are in the file, and about how many it will be. Not for pipes. */
  readonly onProgress?: OnProgress | undefined;
}

/**
 * Writes a container's upper to a file as a tar. It is written beside the file and renamed when it is complete and on disk, so
 * that the name never shows half of it.
 * @throws SiltError; the file is as it was then.
 */
export async function snapshotToFile(options: SnapshotOptions, path: string): Promise<void> {
  const file = replaceable(path);
  const target = SnapshotTarget.open(options.kernel, file);
  try {
    await snapshotToFd(options, target.fd);
    target.publish();
  } catch (error) {
    throw withContext(`cannot write the snapshot ${file}`, error);
  } finally {
    target.close();
  }
}

/** The regular file, there or not, that a path stands for. A rename would replace a device or a fifo, not write to it. */
function replaceable(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return path;
  if (stat.isFile()) return realpathSync(path);
  const kind = stat.isDirectory() ? 'a directory' : 'no regular file';
  throw new SiltError(
    'REQUEST_INVALID',
    `cannot write a snapshot to ${path}: it is ${kind}; without --file it goes to standard output`,
    {
      path,
    },
  );
}

/** Writes a container's upper to an open file or pipe. @throws SiltError. */
export async function snapshotToFd(options: SnapshotOptions, fd: number): Promise<void> {
  const { kernel, state, id, live, onWarning, onProgress } = options;
  const container = state.findContainer(id);
  const pod = state.readPod(container.pod);
  const thaw = live ? undefined : await freezeLease(kernel, state, container);
  const stopWatching = watchProgress(fstatSync(fd).isFile() ? onProgress : undefined, () => {
    // By the space that the upper takes on its own filesystem.
    const { blocks, bfree, bsize } = statfsSync(upperPath(pod.sandbox, container));
    return { done: fstatSync(fd).size, total: (blocks - bfree) * bsize };
  });
  try {
    await packUpper(kernel, { container, pod }, fd, onWarning);
  } finally {
    stopWatching();
    await thaw?.();
  }
}

/** Writes the upper of a container that stands still, or is to be read as it runs. @throws SiltError. */
export async function packUpper(
  kernel: Kernel,
  { container, pod }: { readonly container: ContainerState; readonly pod: PodState },
  fd: number,
  onWarning: OnWarning,
): Promise<void> {
  const upper = openUpper(pod.sandbox, container);
  const idMaps = container.hostIds ? null : pod.idMaps;
  try {
    const shared = openShared(kernel, idMaps ? pod.sandbox : undefined, container);
    try {
      await pack({
        runner: kernel.runner,
        upperFd: upper,
        outFd: fd,
        onWarning,
        ...(shared && { shared }),
        ...(idMaps ? { idMaps } : {}),
      });
    } finally {
      shared?.close();
    }
  } finally {
    closeSync(upper);
  }
}

/** The layer that the upper lies on, as the pod sees it: what was seeded is part of the snapshot. */
function openShared(
  kernel: Kernel,
  /** A process in the container's user namespace, if it has one. */
  sandbox: PodState['sandbox'] | undefined,
  { seedLayer }: ContainerState,
): (SharedSeed & { close(): void }) | undefined {
  if (!seedLayer) return undefined;
  const userns = sandbox ? openSync(`/proc/${sandbox.pid}/ns/user`, 'r') : undefined;
  const fd = mountLayer(kernel, seedLayer.path, userns);
  if (userns !== undefined) closeSync(userns);
  const image = new ImageView(kernel, seedLayer.image);
  return {
    fd,
    isInImage: (path) => image.has(path),
    close: () => {
      closeSync(fd);
      image.close();
    },
  };
}

/** A container whose process has ended needs no freezing; its cgroup may be gone. */
async function freezeLease(
  kernel: Kernel,
  state: StateDirectory,
  container: ContainerState,
): Promise<(() => Promise<void>) | undefined> {
  if (!isSameProcess(container.init)) return undefined;
  return new FreezeRecord(kernel, container.cgroup, state.containerPath(container.pod, container.id)).lease();
}

function upperPath(sandbox: ContainerState['init'], { upper }: ContainerState): string {
  return upper.onHost ? upper.path : `/proc/${sandbox.pid}/root${upper.path}`;
}

/** Opens the upper, and makes sure that it is the one that was recorded. */
function openUpper(sandbox: ContainerState['init'], container: ContainerState): number {
  if (container.upper.path === '') {
    const message = `container ${container.id} has no upper: with overlay2=none it writes to its engine's root filesystem, which is no overlay`;
    throw new SiltError('WRONG_STATE', message, { id: container.id });
  }
  const path = upperPath(sandbox, container);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    const message = `container ${container.id} has no upper any more: its pod has ended`;
    throw new SiltError('WRONG_STATE', message, { id: container.id }, { cause: error });
  }
  // A sandbox that ended meanwhile may have left its pid to another process, with any directory at that path.
  if (isSameProcess(sandbox) && fstatSync(fd).dev === container.upper.device) return fd;
  closeSync(fd);
  throw new SiltError('WRONG_STATE', `container ${container.id} has no upper any more: its pod has ended`, {
    id: container.id,
  });
}
