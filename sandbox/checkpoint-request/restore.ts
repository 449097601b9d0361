/** Restores that a container's annotations ask for: of containers that an engine creates without knowing of checkpoints, such as CRI's. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Spec } from '../../oci';
import { requireCheckpointDirectory } from '../application';
import { findInPod, POD_MANIFEST, restoredName } from '../checkpoint';
import { readManifest } from '../checkpoint-image/manifest';
import type { Config } from '../config/config';
import { CONTAINER_TYPE } from '../config/cri-annotations';
import { containerName } from '../config/seed-policy';
import { asksForRestore, RESTORE_PATH } from '../config/restore-annotations';

type Annotations = Readonly<Record<string, string>>;

/**
 * The checkpoint that a container is to go on from by its annotations: what is its own in that of a pod, or that of one container of its
 * name. Undefined when it is not among those that were saved (an init container, say), and for the container that only holds a pod.
 * @throws SiltError CHECKPOINT_REFUSED when the operator does not allow the directory; CHECKPOINT_INVALID when nothing is there.
 */
export function checkpointAskedFor(
  id: string,
  spec: Pick<Spec, 'annotations'>,
  config: Pick<Config, 'checkpointDirectories'>,
): string | undefined {
  const { annotations = {} } = spec;
  // There is nothing in what only holds a pod that could go on.
  if (!asksForRestore(annotations) || annotations[CONTAINER_TYPE] === 'sandbox') return undefined;
  const path = annotations[RESTORE_PATH]!;
  requireCheckpointDirectory(RESTORE_PATH, path, config);
  const directory = resolve(path);
  if (existsSync(join(directory, POD_MANIFEST))) return findInPod(directory, id, spec);
  return isOf(directory, annotations) ? directory : undefined;
}

/** Whether the checkpoint of a single container is for this one of the pod. */
function isOf(directory: string, annotations: Annotations): boolean {
  const name = containerName(annotations);
  const saved = containerName(readManifest(directory).spec.annotations ?? {});
  return name === undefined || saved === undefined || restoredName(annotations, name) === saved;
}
