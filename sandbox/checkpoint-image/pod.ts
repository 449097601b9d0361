/** A pod's checkpoint: a directory with that of each of its containers, and a list of them. */
import { existsSync, lstatSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import { joinedPod } from '../pod/membership';
import { containerName } from '../config/seed-policy';
import { readList, unseal, unsealed, writeSealed } from './sealed';

export const POD_MANIFEST = 'pod.json';
/** Format of the list. In format 1 it had no digest. */
const POD_VERSION = 2;
/** gVisor's annotation, with any ending: a container `to` goes on from the one that was called `from` (`from=to`). */
const REMAP = 'dev.gvisor.container-name-remap.';

export interface SavedContainer {
  /** The name that it has in its pod; of one that CRI has not made its id. */
  readonly name: string;
  /** The pod's first container, which says what the pod is. */
  readonly first: boolean;
  /** Name of its checkpoint's directory, in the pod's. */
  readonly directory: string;
}

export interface PodManifest {
  readonly version: number;
  readonly pod: string;
  readonly containers: readonly SavedContainer[];
}

/** Writes the list, with its own digest in its last line, and puts it on disk. */
export async function writePodManifest(
  directory: string,
  pod: string,
  containers: readonly SavedContainer[],
): Promise<void> {
  const manifest: PodManifest = { version: POD_VERSION, pod, containers };
  await writeSealed(join(directory, POD_MANIFEST), manifest);
}

/** @throws SiltError CHECKPOINT_INVALID for a list that is damaged, of a newer silt, or leads out of the directory. */
export function readPodManifest(directory: string): PodManifest {
  const path = join(directory, POD_MANIFEST);
  const refuse = (reason: string, cause?: unknown): SiltError =>
    new SiltError('CHECKPOINT_INVALID', `the checkpoint ${directory} ${reason}`, { path }, { cause });
  let text: string;
  try {
    text = readList(path);
  } catch (error) {
    throw refuse(`is damaged: ${POD_MANIFEST} cannot be read: ${(error as Error).message}`, error);
  }
  const manifest = parse(path, text);
  const { version, containers } = manifest;
  if (version !== 1 && version !== POD_VERSION)
    throw refuse(`is of format ${version ?? 'unknown'}, and this silt knows ${POD_VERSION}`);
  if (!Array.isArray(containers)) throw refuse(`is damaged: ${POD_MANIFEST} has no list of containers`);
  const wrong = containers.findIndex((one) => !isContainer(one));
  if (wrong >= 0) {
    const listed = JSON.stringify(containers[wrong]);
    throw refuse(
      `cannot be trusted: ${POD_MANIFEST} lists ${listed}, which has no name or no plain name of a directory`,
    );
  }
  return manifest as PodManifest;
}

/** @throws SiltError CHECKPOINT_INVALID. */
function parse(path: string, text: string): Partial<PodManifest> {
  const old: Partial<PodManifest> | undefined = unsealed(text);
  // Of a later format it is one that has lost its digest.
  return old?.version === 1 ? old : unseal(path, text);
}

function isContainer(listed: unknown): listed is SavedContainer {
  if (typeof listed !== 'object' || listed === null) return false;
  const { name, first, directory } = listed as Partial<Record<keyof SavedContainer, unknown>>;
  return (
    typeof name === 'string' &&
    typeof first === 'boolean' &&
    typeof directory === 'string' &&
    !['', '.', '..'].includes(directory) &&
    !/[/\0]/.test(directory)
  );
}

/**
 * The checkpoint of one container: the directory itself, or what is that container's in a pod's checkpoint.
 * @throws SiltError CHECKPOINT_INVALID when the pod had no such container, naming those that it had.
 */
export function checkpointInPod(imagePath: string, id: string, spec: Pick<Spec, 'annotations'>): string {
  if (!existsSync(join(imagePath, POD_MANIFEST))) return imagePath;
  const found = findInPod(imagePath, id, spec);
  if (found !== undefined) return found;
  const { annotations = {} } = spec;
  const wanted = restoredName(annotations, containerName(annotations) ?? id);
  const { containers } = readPodManifest(imagePath);
  const names = containers.filter(({ first }) => !first).map((one) => one.name);
  const message = `the checkpoint ${imagePath} holds no container ${wanted}; it holds ${names.join(', ') || 'the first container only'}; the annotation ${REMAP}N: from=to maps changed names`;
  throw new SiltError('CHECKPOINT_INVALID', message, { path: imagePath, id });
}

/** What is a container's in a pod's checkpoint; undefined when the pod had none of its name. @throws SiltError CHECKPOINT_INVALID. */
export function findInPod(imagePath: string, id: string, spec: Pick<Spec, 'annotations'>): string | undefined {
  const { annotations = {} } = spec;
  const wanted = restoredName(annotations, containerName(annotations) ?? id);
  const isFirst = joinedPod(id, spec) === undefined;
  const { containers } = readPodManifest(imagePath);
  const found = containers.find((one) => (isFirst ? one.first : !one.first && one.name === wanted));
  if (found === undefined) return undefined;
  const directory = join(imagePath, found.directory);
  // The directory that was named may be a symlink of whoever names it; what is in a checkpoint is all of it there.
  if (lstatSync(directory, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return directory;
  const message = `the checkpoint ${imagePath} cannot be trusted: ${found.directory}, which ${POD_MANIFEST} lists, is a symlink`;
  throw new SiltError('CHECKPOINT_INVALID', message, { path: directory });
}

/** What the container of this name was called when it was saved. @throws SiltError SPEC_INVALID for a map that is none. */
export function restoredName(annotations: Readonly<Record<string, string>>, name: string): string {
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(REMAP)) continue;
    const [from, to, ...more] = value.split('=');
    if (!from || !to || more.length > 0) {
      const message = `$.annotations["${key}"]: ${JSON.stringify(value)} is not of the form from=to`;
      throw new SiltError('SPEC_INVALID', message, { jsonPath: '$.annotations' });
    }
    if (to === name) return from;
  }
  return name;
}
