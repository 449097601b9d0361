/** The directory that containerd's CRI has of a container. */
import { existsSync, lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import type { Spec } from '../oci';
import { SANDBOX_ID } from '../sandbox/config/cri-annotations';

/** Files of a pod that CRI makes and mounts into its containers, from its directory of the pod. */
const POD_FILES = ['/etc/hostname', '/etc/resolv.conf', '/etc/hosts'];

/**
 * Where containerd's CRI looks for the `stats-dump` of a checkpoint that it has asked for, and fails without one. It names that directory
 * only to shims called `io.containerd.runc.v2`; it is found beside the pod's, of which the spec mounts files: `…/sandboxes/POD/hostname`
 * and `…/containers/ID`. Since 2.2 it is one within, which is there while a checkpoint is taken. Undefined for a container that is not CRI's.
 *
 * Whoever writes a pod may mount something of his own on these files: so it must be the directory of the container's own pod, and from
 * the one above `containers` on no symlink leads elsewhere. containerd's root may be one. The path that is returned has none.
 */
export function criCheckpointDirectory(id: string, { mounts = [], annotations = {} }: Spec): string | undefined {
  const pod = annotations[SANDBOX_ID];
  if (pod === undefined) return undefined;
  const files = mounts.filter(({ destination }) => POD_FILES.includes(destination));
  for (const { source = '' } of files) {
    const [own, pods] = [dirname(source), dirname(dirname(source))];
    if (!isAbsolute(source) || basename(own) !== pod || basename(pods) !== 'sandboxes') continue;
    if (!isDirectory(pods) || !isDirectory(own)) continue;
    const containers = join(realpathSync(dirname(pods)), 'containers');
    const directory = join(containers, id);
    if (!isDirectory(containers) || !isDirectory(directory)) continue;
    const within = join(directory, 'ctrd-checkpoint');
    if (isDirectory(within)) return within;
    if (existsSync(join(directory, 'status'))) return directory;
  }
  return undefined;
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
