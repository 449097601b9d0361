import { lstatSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { SiltError } from '../../errors';
import type { Config } from './config';
import { CONTAINER_NAME, CONTAINER_TYPE } from './cri-annotations';

/** gVisor's annotation: the archive that a container's upper starts from. */
export const SEED_ANNOTATION = 'dev.gvisor.tar.rootfs.upper';

type Annotations = Readonly<Record<string, string>>;

/**
 * The seed that the annotations ask for. One that names the container, which a pod can carry for all, goes first. The
 * container that only holds a pod has the pod's annotations too, and no seed.
 */
export function seedOf(annotations: Annotations): string | undefined {
  const name = annotations[CONTAINER_NAME];
  if (name === undefined && annotations[CONTAINER_TYPE] === 'sandbox') return undefined;
  const named = name === undefined ? undefined : annotations[`${SEED_ANNOTATION}.${name}`];
  return named ?? annotations[SEED_ANNOTATION];
}

/** The containers' names that a pod's annotations give seeds for. */
export function seededNames(annotations: Annotations): string[] {
  const prefix = `${SEED_ANNOTATION}.`;
  return Object.keys(annotations).flatMap((key) => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []));
}

/** The name that a container has in its pod; undefined for one that CRI has not made. */
export function containerName(annotations: Annotations): string | undefined {
  return annotations[CONTAINER_NAME];
}

/**
 * Checks that the operator allows a seed from this path for a container that somebody else describes: an annotation is
 * written by whoever may create a pod, and the archive is opened by host root.
 * Symlinks in the directories are resolved first; the last component must not be one.
 * @returns the path to open
 * @throws SiltError SEED_REFUSED, SEED_UNREADABLE.
 */
export function allowSeed(seed: string, config: Config): string {
  if (!config.allowRootfsTarAnnotation) {
    throw new SiltError(
      'SEED_REFUSED',
      `the annotation ${SEED_ANNOTATION} asks for the seed ${seed}, but seeds by annotation are off; set allow-rootfs-tar-annotation = true in silt's configuration`,
      { path: seed },
    );
  }
  if (!path.isAbsolute(seed))
    throw new SiltError('SEED_UNREADABLE', `the seed ${seed} must be given as an absolute path`, { path: seed });
  const real = path.join(realDirectory(seed), path.basename(seed));
  const allowed = config.rootfsTarDirectories.some(
    (directory) => isBeneath(real, directory) || isBeneath(real, realOf(directory)),
  );
  if (!allowed) {
    const list = config.rootfsTarDirectories.join(', ') || 'none';
    throw new SiltError(
      'SEED_REFUSED',
      `the seed ${seed} lies in none of the directories that rootfs-tar-directories allows (${list})`,
      { path: seed },
    );
  }
  return real;
}

function realDirectory(seed: string): string {
  try {
    return realpathSync(path.dirname(seed));
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw new SiltError(
      'SEED_UNREADABLE',
      `cannot open the seed ${seed}: ${code}`,
      { path: seed, errno: code },
      { cause: error },
    );
  }
}

function realOf(directory: string): string {
  try {
    return lstatSync(directory).isSymbolicLink() ? realpathSync(directory) : directory;
  } catch {
    return directory;
  }
}

function isBeneath(file: string, directory: string): boolean {
  return file.startsWith(directory.endsWith('/') ? directory : `${directory}/`);
}
