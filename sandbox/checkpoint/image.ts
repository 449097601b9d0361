/** A checkpoint that is to be restored: what must be right before anything of it is started. */
import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import { cpuFeatures, missingFeatures } from '../cpu-features';
import { describeMounts } from './filesystems';
import { checkSizes, isMemory, type Manifest, PROCESS, readManifest, UPPER, verifyFile } from './manifest';

/** An opened checkpoint. */
export interface CheckpointImage {
  readonly directory: string;
  readonly manifest: Manifest;
  /** CRIU's images. */
  readonly process: string;
  /** The archive of the upper. */
  readonly upper: string;
  /** Settles when the contents of memory have been read and found right; nothing may run before. */
  readonly memoryVerified: Promise<void>;
}

/**
 * Opens a checkpoint for a restore and checks it: that it is whole (all but the contents of memory, whose check goes on), that
 * this CPU can run it, and that the spec it is to be restored with fits.
 * @throws SiltError CHECKPOINT_INVALID saying what is wrong or missing.
 */
export async function openCheckpoint(imagePath: string, spec: Spec): Promise<CheckpointImage> {
  const directory = resolve(imagePath);
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory())
    throw new SiltError('CHECKPOINT_INVALID', `there is no checkpoint ${directory}`, { path: directory });
  const manifest = readManifest(directory);
  checkSizes(directory, manifest);
  checkMachine(directory, manifest);
  checkSpec(manifest, spec);
  for (const file of manifest.files.filter((one) => !isMemory(one))) await verifyFile(directory, file);
  const memoryVerified = (async () => {
    for (const file of manifest.files.filter(isMemory)) await verifyFile(directory, file);
  })();
  // Whoever waits for it hears of the failure; nobody may be waiting yet.
  memoryVerified.catch(() => undefined);
  return { directory, manifest, process: join(directory, PROCESS), upper: join(directory, UPPER), memoryVerified };
}

function checkMachine(directory: string, manifest: Manifest): void {
  if (manifest.architecture !== process.arch) {
    const message = `the checkpoint ${directory} was taken on ${manifest.architecture}, and this machine is ${process.arch}`;
    throw new SiltError('CHECKPOINT_INVALID', message, { path: directory });
  }
  const missing = missingFeatures(manifest.cpuFeatures, cpuFeatures(readFileSync('/proc/cpuinfo', 'utf8')));
  if (missing.length === 0) return;
  const message = `the checkpoint ${directory} was taken on a CPU with features that this one lacks: ${missing.join(', ')}; its programs may be using them`;
  throw new SiltError('CHECKPOINT_INVALID', message, { path: directory });
}

function checkSpec(manifest: Manifest, spec: Spec): void {
  const wanted = new Map(manifest.mounts.map(({ destination, type }) => [destination, type]));
  const given = new Map(describeMounts(spec).map(({ destination, type }) => [destination, type]));
  const missing = [...wanted].filter(([destination]) => !given.has(destination)).map(([destination]) => destination);
  const different = [...wanted].flatMap(([destination, type]) => {
    const now = given.get(destination);
    return now === undefined || now === type ? [] : [`${destination} (${type}, now ${now})`];
  });
  const further = [...given.keys()].filter((destination) => !wanted.has(destination));
  const problems = [
    missing.length > 0 ? `missing: ${missing.join(', ')}` : '',
    different.length > 0 ? `different: ${different.join(', ')}` : '',
    further.length > 0 ? `not in the checkpoint: ${further.join(', ')}` : '',
  ].filter(Boolean);
  if (problems.length > 0) {
    const message = `the mounts are not those that the container was checkpointed with; ${problems.join('; ')}`;
    throw new SiltError('CHECKPOINT_INVALID', message);
  }
  const hasTerminal = manifest.terminal !== undefined;
  if (hasTerminal === (spec.process?.terminal ?? false)) return;
  const message = hasTerminal
    ? 'the container was checkpointed with a terminal, and is to be restored without one'
    : 'the container was checkpointed without a terminal, and is to be restored with one';
  throw new SiltError('CHECKPOINT_INVALID', message);
}
