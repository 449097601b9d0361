/** The directory that containerd's CRI has of a container. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Spec } from '../oci';

/** Files of a pod that CRI makes and mounts into its containers, from its directory of the pod. */
const POD_FILES = ['/etc/hostname', '/etc/resolv.conf', '/etc/hosts'];

/**
 * Where containerd's CRI looks for the `stats-dump` of a checkpoint that it has asked for, and fails without one. It names that directory
 * only to shims called `io.containerd.runc.v2`; it is found beside the pod's, of which the spec mounts files: `…/sandboxes/POD/hostname`
 * and `…/containers/ID`. Since 2.2 it is one within, which is there while a checkpoint is taken. Undefined for a container that is not CRI's.
 */
export function criCheckpointDirectory(id: string, { mounts = [] }: Spec): string | undefined {
  const files = mounts.filter(({ destination }) => POD_FILES.includes(destination));
  for (const { source = '' } of files) {
    const pods = dirname(dirname(source));
    if (basename(pods) !== 'sandboxes') continue;
    const directory = join(dirname(pods), 'containers', id);
    const within = join(directory, 'ctrd-checkpoint');
    if (existsSync(within)) return within;
    if (existsSync(join(directory, 'status'))) return directory;
  }
  return undefined;
}
