/** gVisor's annotations by which the programs of a container can have it checkpointed. */
import { isAbsolute, normalize } from 'node:path';
import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import type { Config } from '../config/config';
import { isTrue } from '../config/restore-annotations';

const PREFIX = 'dev.gvisor.internal.checkpoint.';

export interface ApplicationCheckpoint {
  /** The directory that the checkpoint becomes. Of the pod's first container; that of others is not looked at. */
  readonly path: string | undefined;
  /** The pod goes on when it has been saved. Of the first container, too. */
  readonly resume: boolean;
  /** The programs of this container may ask for it; without, only wait for it. */
  readonly enable: boolean;
}

/** What a container's annotations say; undefined when they say nothing of it. */
export function applicationCheckpoint({
  annotations = {},
}: Pick<Spec, 'annotations'>): ApplicationCheckpoint | undefined {
  if (!Object.keys(annotations).some((name) => name.startsWith(PREFIX))) return undefined;
  return {
    path: annotations[`${PREFIX}path`] || undefined,
    resume: isTrue(annotations[`${PREFIX}resume`]),
    enable: isTrue(annotations[`${PREFIX}enable`]),
  };
}

/**
 * Checks that the operator allows the path that a container's annotations name: they are written by whoever may create a pod, and
 * host root makes what is there.
 * @throws SiltError CHECKPOINT_REFUSED.
 */
export function allowCheckpointPath(
  spec: Pick<Spec, 'annotations'>,
  config: Pick<Config, 'checkpointDirectories'>,
): void {
  const path = applicationCheckpoint(spec)?.path;
  if (path !== undefined) requireCheckpointDirectory(`${PREFIX}path`, path, config);
}

/** The same for the path in any annotation. @throws SiltError CHECKPOINT_REFUSED. */
export function requireCheckpointDirectory(
  annotation: string,
  path: string,
  { checkpointDirectories: directories }: Pick<Config, 'checkpointDirectories'>,
): void {
  const isBeneath = (directory: string): boolean => normalize(path).startsWith(`${directory.replace(/\/$/, '')}/`);
  if (isAbsolute(path) && directories.some(isBeneath)) return;
  const list = directories.join(', ') || 'none';
  const message = `the annotation ${annotation} names ${path}, which is below none of the directories that checkpoint-directories allows (${list})`;
  throw new SiltError('CHECKPOINT_REFUSED', message, { path });
}
