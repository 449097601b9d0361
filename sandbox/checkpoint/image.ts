/** A checkpoint that is to be restored: what must be right before anything of it is started. */
import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { SiltError } from '../../errors';
import { isPrivileged, type Spec } from '../../oci';
import { missingFeatures } from '../cpuid/features';
import { CPU_FEATURES_ANNOTATION, shownFeatures } from '../cpuid';
import type { CriuImages } from '../programs/criu';
import { Breath } from '../checkpoint-image/breath';
import { credentialsBeyond } from '../checkpoint-image/credentials';
import { DELETED } from './deleted';
import { describeMounts } from './filesystems';
import { threadsWithLess } from '../checkpoint-image/filtered';
import { threadsWithoutCore } from '../checkpoint-image/process-tree';
import { readPagemaps } from '../checkpoint-image/pagemap';
import { type Rights, rightsBeyond } from '../checkpoint-image/rights';
import {
  checkSizes,
  filesIn,
  imagesOf,
  isImage,
  isMemory,
  type Manifest,
  processDirectory,
  readManifest,
  readVerified,
  TERMINAL_OUTPUT,
  terminalsOf,
  UPPER,
  verifyFile,
} from '../checkpoint-image/manifest';

/** An opened checkpoint. */
export interface CheckpointImage {
  readonly directory: string;
  readonly manifest: Manifest;
  /** CRIU's images: the directory that they are in, and their names. */
  readonly process: CriuImages;
  /** The archive of the upper. */
  readonly upper: string;
  /** What the program had written to its terminal and nobody had read: it comes before what it writes from now on. */
  readonly terminalOutput: Buffer;
  /** Memory is to be brought when the processes use it. */
  readonly background: boolean;
  /**
   * Settles when the contents of memory have been read and found right, as far as CRIU reads them: all of them, or what it does not
   * leave to the pager. Nothing may run before.
   */
  verifyMemory(how: 'all' | 'not-lazy'): Promise<void>;
}

/**
 * Opens a checkpoint for a restore and checks it: that it is whole (all but the contents of memory, whose check goes on), that
 * this CPU can run it, and that the spec it is to be restored with, and the baseline that is configured, fit.
 * @throws SiltError CHECKPOINT_INVALID saying what is wrong or missing.
 */
export async function openCheckpoint(
  imagePath: string,
  spec: Spec,
  { baseline, background = false }: Pick<Rights, 'baseline'> & { readonly background?: boolean | undefined },
): Promise<CheckpointImage> {
  const directory = resolve(imagePath);
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory())
    throw new SiltError('CHECKPOINT_INVALID', `there is no checkpoint ${directory}`, { path: directory });
  const manifest = readManifest(directory);
  checkSizes(directory, manifest);
  refuseFurther(directory, manifest);
  checkMachine(directory, manifest, spec);
  checkSpec(manifest, { spec, baseline });
  const breath = new Breath();
  for (const file of manifest.files.filter((one) => !isMemory(one))) {
    await verifyFile(directory, file);
    await breath.take();
  }
  await checkThreads(directory, manifest, { spec, baseline });
  const verified = new Map<string, Promise<void>>();
  const verifyMemory = (how: 'all' | 'not-lazy'): Promise<void> => {
    const known = verified.get(how) ?? verify(directory, manifest, how === 'not-lazy');
    verified.set(how, known);
    // Whoever waits for it hears of the failure; nobody may be waiting yet.
    known.catch(() => undefined);
    return known;
  };
  void verifyMemory(background ? 'not-lazy' : 'all').catch(() => undefined);
  const [process, upper] = [criuImages(directory, manifest), join(directory, UPPER)];
  const output = manifest.files.find(({ path }) => path === TERMINAL_OUTPUT);
  const terminalOutput = output ? readVerified(directory, output) : Buffer.alloc(0);
  return { directory, manifest, process, upper, terminalOutput, background, verifyMemory };
}

async function verify(directory: string, manifest: Manifest, withoutLazy: boolean): Promise<void> {
  const { files } = manifest;
  if (!withoutLazy) {
    for (const file of files.filter(isMemory)) await verifyFile(directory, file);
    return;
  }
  const needed = new Map<string, Set<number>>();
  for (const { runs, file } of readPagemaps(directory, manifest)) {
    const chunks = needed.get(file.path) ?? new Set();
    for (const { start, end, offset } of runs.filter(({ lazy }) => !lazy))
      for (let at = offset - (offset % file.chunk); at < offset + end - start; at += file.chunk)
        chunks.add(at / file.chunk);
    needed.set(file.path, chunks);
  }
  for (const file of files.filter(isMemory)) {
    const chunks = [...(needed.get(file.path) ?? [])].sort((a, b) => a - b);
    await verifyFile(directory, file, chunks);
  }
}

function criuImages(directory: string, manifest: Manifest): CriuImages {
  return { directory: join(directory, processDirectory(manifest)), names: [...imagesOf(manifest).keys()] };
}

/** CRIU opens its images by their names, and follows symlinks: one that nobody has vouched for must not be among them, nor an archive. */
function refuseFurther(directory: string, manifest: Manifest): void {
  const known = new Set(manifest.files.map(({ path }) => path));
  const further = filesIn(directory, (entry) => !entry.isDirectory()).filter(
    (path) => (isImage(path, manifest) || path === UPPER || path === DELETED) && !known.has(path),
  );
  if (further.length === 0) return;
  const message = `the checkpoint ${directory} holds files that its manifest does not list: ${further.join(', ')}; remove them`;
  throw new SiltError('CHECKPOINT_INVALID', message, { path: join(directory, further[0]!) });
}

/** The manifest says what the container was created with. This is what CRIU would give its threads. */
async function checkThreads(directory: string, manifest: Manifest, given: Rights): Promise<void> {
  const images = imagesOf(manifest);
  const breath = new Breath();
  const beyond: string[] = [];
  const cores = new Map<number, Buffer>();
  for (const [name, file] of images) {
    const tid = CORE.exec(name)?.[1];
    if (tid === undefined) continue;
    const core = readVerified(directory, file);
    cores.set(Number(tid), core);
    beyond.push(...credentialsBeyond(core, name, given));
    await breath.take();
  }
  const [treeFile, filters] = [images.get('pstree.img'), images.get('seccomp.img')];
  if (treeFile === undefined) throw lacking(directory, 'pstree.img');
  const tree = readVerified(directory, treeFile);
  const unknown = threadsWithoutCore(tree, cores);
  if (unknown.length > 0) throw lacking(directory, some(unknown.map((tid) => `core-${tid}.img`)));
  const wanted = filtersOf(given);
  if (wanted > 0) {
    const seccomp = filters && readVerified(directory, filters);
    const less = threadsWithLess(wanted, { tree, seccomp, cores });
    beyond.push(...less.map((tid) => `core-${tid}.img: no seccomp filter, or one less`));
  }
  refuseRights(`the checkpoint ${directory} holds threads`, beyond);
}

/** How many seccomp filters the new container's processes have. */
function filtersOf({ spec, baseline = 'none' }: Rights): number {
  const own = spec.linux?.seccomp === undefined ? 0 : 1;
  return own + (baseline === 'none' || isPrivileged(spec) ? 0 : 1);
}

function lacking(directory: string, names: string): SiltError {
  const message = `the checkpoint ${directory} is incomplete: its manifest does not list ${names}, which CRIU needs`;
  return new SiltError('CHECKPOINT_INVALID', message, { path: directory });
}

/** One for each thread, by its id as CRIU writes it. */
const CORE = /^core-([1-9]\d*)\.img$/;
/** How many of the reasons are named: of a thousand threads each may have the same. */
const NAMED = 8;

function refuseRights(what: string, beyond: readonly string[]): void {
  if (beyond.length === 0) return;
  const message = `${what} with rights that the one to be restored is not given: ${some(beyond)}`;
  throw new SiltError('CHECKPOINT_INVALID', message);
}

function some(all: readonly string[]): string {
  return `${all.slice(0, NAMED).join(', ')}${all.length > NAMED ? ` and ${all.length - NAMED} more` : ''}`;
}

function checkMachine(directory: string, manifest: Manifest, { annotations = {} }: Spec): void {
  if (manifest.architecture !== process.arch) {
    const message = `the checkpoint ${directory} was taken on ${manifest.architecture}, and this machine is ${process.arch}`;
    throw new SiltError('CHECKPOINT_INVALID', message, { path: directory });
  }
  const features = shownFeatures(annotations, readFileSync('/proc/cpuinfo', 'utf8'));
  const missing = missingFeatures(manifest.cpuFeatures, features);
  if (missing.length === 0) return;
  const who =
    annotations[CPU_FEATURES_ANNOTATION] === undefined ? 'this one' : `the annotation ${CPU_FEATURES_ANNOTATION} here`;
  const message = `the checkpoint ${directory} was taken on a CPU with features that ${who} lacks: ${missing.join(', ')}; its programs may be using them`;
  throw new SiltError('CHECKPOINT_INVALID', message, { path: directory });
}

/** @throws SiltError CHECKPOINT_INVALID when what is to be restored would not find what it had: mounts, rights, a terminal. */
export function checkSpec(
  manifest: Pick<Manifest, 'mounts' | 'spec' | 'baseline' | 'terminal' | 'terminals'>,
  given: Rights,
): void {
  const { spec } = given;
  const wanted = new Map(manifest.mounts.map(({ destination, type }) => [destination, type]));
  const now = new Map(describeMounts(spec).map(({ destination, type }) => [destination, type]));
  const missing = [...wanted].filter(([destination]) => !now.has(destination)).map(([destination]) => destination);
  const different = [...wanted].flatMap(([destination, type]) => {
    const found = now.get(destination);
    return found === undefined || found === type ? [] : [`${destination} (${type}, now ${found})`];
  });
  const further = [...now.keys()].filter((destination) => !wanted.has(destination));
  const problems = [
    missing.length > 0 ? `missing: ${missing.join(', ')}` : '',
    different.length > 0 ? `different: ${different.join(', ')}` : '',
    further.length > 0 ? `not in the checkpoint: ${further.join(', ')}` : '',
  ].filter(Boolean);
  if (problems.length > 0) {
    const message = `the mounts are not those that the container was checkpointed with; ${problems.join('; ')}`;
    throw new SiltError('CHECKPOINT_INVALID', message);
  }
  refuseRights('the container was checkpointed', rightsBeyond(manifest, given));
  const hasTerminal = terminalsOf(manifest).length > 0;
  if (hasTerminal === (spec.process?.terminal ?? false)) return;
  const message = hasTerminal
    ? 'the container was checkpointed with a terminal, and is to be restored without one'
    : 'the container was checkpointed without a terminal, and is to be restored with one';
  throw new SiltError('CHECKPOINT_INVALID', message);
}
