import { closeSync } from 'node:fs';
import { type FilesystemStep, type IdMaps, type RootPlan, SHARED_MEMORY } from '../../gofer';
import type { Kernel } from '../../syscall';
import { copyUp } from './copy-up';
import { ImageView } from './image-view';
import { userNamespaceProgram } from '../programs/user-namespace';
import { awaitReports } from '../process/started';

/**
 * Makes what a root filesystem needs of mounts beforehand: user namespaces with mappings that are not the pod's, filesystems
 * that start with a part of the image, and the pod's shared memory. The fds, by the names that the plan has for them, are the caller's to close.
 * @throws SiltError; nothing is left open then.
 */
export async function openMountFds(
  kernel: Kernel,
  { mounts, mountMaps, copyUps, layers }: Pick<RootPlan, 'mounts' | 'mountMaps' | 'copyUps' | 'layers'>,
  idMaps: IdMaps | null,
  pod: { openSharedMemory(step: FilesystemStep): Promise<number> },
): Promise<Record<string, number>> {
  const fds: Record<string, number> = {};
  const view = new ImageView(
    kernel,
    layers.map(({ path }) => path),
  );
  try {
    for (const [name, maps] of Object.entries(mountMaps)) fds[name] = await makeUserNamespace(kernel, maps);
    for (const step of mounts)
      if (step.kind === 'filesystem' && step.given === SHARED_MEMORY)
        fds[SHARED_MEMORY] = await pod.openSharedMemory(step);
    for (const one of copyUps) fds[one.name] = copyUp(kernel, view, one, idMaps);
    return fds;
  } catch (error) {
    for (const fd of Object.values(fds)) closeSync(fd);
    throw error;
  } finally {
    view.close();
  }
}

async function makeUserNamespace(kernel: Kernel, maps: IdMaps): Promise<number> {
  const started = kernel.start(userNamespaceProgram(maps), {});
  const { userns } = await awaitReports(kernel, started, ['userns'], { what: 'making a user namespace for a mount' });
  started.reports.close();
  return userns.fds[0]!;
}
