/** `checkpoint.json`: what a checkpoint consists of, and the proof that it is whole. */
import { closeSync, constants, type Dirent, fstatSync, lstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import { Breath } from './breath';
import { type Algorithm, digest, eachDigest } from './digests';
import type { StdioName } from './normalise';
import type { Rights } from './rights';
import { readList, sync, unseal, writeSealed } from './sealed';
import type { SavedTerminal } from './terminals';

/**
 * Format of checkpoints. A silt reads every format up to its own and refuses newer ones by name. In format 1 CRIU's images are in a
 * directory of their own, `process`; since then a checkpoint is flat, as tools for CRIU's images and containerd's CRI want it. Up to
 * format 2 memory had SHA-256 like all else.
 */
export const CHECKPOINT_VERSION = 3;
export const MANIFEST = 'checkpoint.json';
/** The archive of the container's writable layer. */
export const UPPER = 'upper.tar';

/** What was written to the terminal and nobody had read. */
export const TERMINAL_OUTPUT = 'terminal.out';

/**
 * A digest for so many bytes: a damaged file is found while it is read, and reading need not end before something starts. No format has
 * had larger chunks.
 */
const CHUNK = 16 << 20;
/** The same for the contents of memory, of which a page may be wanted at once. */
export const MEMORY_CHUNK = 1 << 20;

export interface CheckpointFile {
  /** Relative to the checkpoint's directory. */
  readonly path: string;
  readonly size: number;
  /** Each part of so many bytes, the last one shorter, has its digest in the one of the two lists that there is. */
  readonly chunk: number;
  readonly sha256?: readonly string[];
  readonly gmac?: readonly string[];
}

/** Digests of a file's chunks, and how they were made. */
export function digestsOf({ sha256, gmac }: CheckpointFile): {
  readonly algorithm: Algorithm;
  readonly digests: readonly string[];
} {
  return sha256 === undefined ? { algorithm: 'gmac', digests: gmac ?? [] } : { algorithm: 'sha256', digests: sha256 };
}

/** How the digests of a new checkpoint's file are made, and of how many bytes each. */
export function chunking(path: string): { readonly algorithm: Algorithm; readonly chunk: number } {
  return isMemory({ path }) ? { algorithm: 'gmac', chunk: MEMORY_CHUNK } : { algorithm: 'sha256', chunk: CHUNK };
}

/** A filesystem whose contents are saved beside the upper. */
export interface SavedFilesystem {
  readonly destination: string;
  /** Where it lies in the container's root, when the image has a symlink on the way to the destination. */
  readonly place?: string;
  /** Its archive; none when there was nothing in it that silt does not make anew. */
  readonly file?: string;
}

/** An open file description of a file without a name. */
export interface SavedDeleted {
  /** CRIU's number of it. */
  readonly id: number;
  readonly name: string;
  readonly flags: number;
  readonly position: number;
}

export interface Manifest {
  readonly version: number;
  readonly silt: string;
  readonly criu: string;
  readonly kernel: string;
  readonly architecture: string;
  readonly created: string;
  readonly container: string;
  /** Features that /proc/cpuinfo listed, which the program may have found and be using. */
  readonly cpuFeatures: readonly string[];
  readonly spec: Spec;
  /** What the container was created with. */
  readonly baseline?: Rights['baseline'];
  /** Destination and type of every mount of the spec; a restore must have the same. */
  readonly mounts: readonly { readonly destination: string; readonly type: string }[];
  readonly filesystems: readonly SavedFilesystem[];
  /** How deleted files are open: `name` is that in their archive. None: there are no such files. */
  readonly deleted?: readonly SavedDeleted[];
  /** Which of the stdio files are still open. */
  readonly stdio: readonly StdioName[];
  /** The terminal, each time that it was opened; none without one. */
  readonly terminals?: readonly SavedTerminal[];
  /** How CRIU's images call it, however often it was opened, in a checkpoint that an older silt has made. */
  readonly terminal?: string;
  /** How they call the checkpoint file; none when no process has it open. */
  readonly checkpointFile?: string;
  /** What the dump was asked for and a restore has to know. */
  readonly options: { readonly tcpEstablished: boolean; readonly externalUnixSockets: boolean };
  readonly files: readonly CheckpointFile[];
}

/** Reads a file whole and makes its digests. */
export async function describeFile(directory: string, path: string): Promise<CheckpointFile> {
  const digests: string[] = [];
  const { algorithm, chunk } = chunking(path);
  const file = openSync(join(directory, path), 'r');
  try {
    const { size } = fstatSync(file);
    const all = Array.from({ length: Math.ceil(size / chunk) }, (_, i) => i);
    await eachDigest(file, { path, size, chunk, algorithm }, all, (index, found) => (digests[index] = found));
    return { path, size, chunk, [algorithm]: digests };
  } finally {
    closeSync(file);
  }
}

/** How many files are put on disk at once: a journal is written once for several, and each is open meanwhile. */
const AT_ONCE = 16;

/**
 * Describes files of a checkpoint, in the order of the paths, and puts them on disk while they are read. There may be thousands: some
 * are open at a time, and the event loop has its turns.
 * @param describe makes the digests of one
 */
export async function describeFiles(
  directory: string,
  paths: readonly string[],
  describe = (path: string): Promise<CheckpointFile> => describeFile(directory, path),
): Promise<CheckpointFile[]> {
  const waiting = paths.values();
  const syncRest = async (): Promise<void> => {
    for (const path of waiting) await sync(join(directory, path));
  };
  const synced = Promise.all(Array.from({ length: AT_ONCE }, syncRest));
  // Whoever awaits it hears of it; until then files are read.
  synced.catch(() => undefined);
  const breath = new Breath();
  const files: CheckpointFile[] = [];
  for (const path of paths) {
    files.push(await describe(path));
    await breath.take();
  }
  await synced;
  return files;
}

/**
 * All files of a checkpoint, in order of their names; the manifest is none of them.
 * @param counts what is a file: regular ones, if nothing else is said
 */
export function filesIn(directory: string, counts = (entry: Dirent): boolean => entry.isFile()): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(counts)
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .filter((path) => path !== MANIFEST)
    .sort();
}

/** Writes the manifest, with its own digest in its last line, and puts it on disk. */
export async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  await writeSealed(join(directory, MANIFEST), manifest);
}

/**
 * Reads a checkpoint's manifest.
 * @throws SiltError CHECKPOINT_INVALID for a directory without one, a damaged one, one of a newer silt, and one whose list of files
 * leaves open which file is meant.
 */
export function readManifest(directory: string): Manifest {
  const path = join(directory, MANIFEST);
  let text: string;
  try {
    text = readList(path);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw invalid(`${directory} holds no checkpoint: cannot read ${MANIFEST}: ${code}`, path);
  }
  const manifest = unseal(path, text) as Manifest;
  if (manifest.version > CHECKPOINT_VERSION) {
    const message = `the checkpoint ${directory} is of format ${manifest.version}, and this silt knows ${CHECKPOINT_VERSION}; restore it with silt ${manifest.silt} or later`;
    throw invalid(message, path);
  }
  const files: unknown = manifest.files;
  if (!Array.isArray(files) || !files.every((file) => typeof file === 'object' && file !== null))
    throw invalid(`${path} has no list of files; take the checkpoint anew`, path);
  checkPaths(path, manifest);
  checkDigests(path, manifest);
  return manifest;
}

/** Each file once, by a path that has only one form; of images each name once, since CRIU opens them by their names. */
function checkPaths(
  manifestPath: string,
  { files, filesystems = [] }: Partial<Manifest> & Pick<Manifest, 'files'>,
): void {
  const seen = new Set<string>();
  const unique = (what: string): boolean => seen.size !== seen.add(what).size;
  for (const { path } of files) {
    const refuse = (reason: string): SiltError => invalid(`${manifestPath} lists the file ${path}, ${reason}`, path);
    if (
      typeof path !== 'string' ||
      isAbsolute(path) ||
      normalize(path) !== path ||
      path === '.' ||
      path.split('/').includes('..') ||
      path.endsWith('/')
    )
      throw refuse('which is no plain path beneath the checkpoint');
    if (!unique(path)) throw refuse('twice');
    if (path.endsWith('.img') && !unique(`image ${basename(path)}`)) throw refuse('and another image of that name');
  }
  const unlisted = filesystems.find(({ file }) => file !== undefined && !files.some(({ path }) => path === file));
  if (unlisted?.file !== undefined)
    throw invalid(`${manifestPath} does not list the file ${unlisted.file} of ${unlisted.destination}`, unlisted.file);
}

/** A digest for every byte: what has none would be believed. A chunk is held in memory when a page of it is wanted. */
function checkDigests(manifestPath: string, { files }: Pick<Manifest, 'files'>): void {
  for (const file of files) {
    const { size, chunk } = file;
    const { digests } = digestsOf(file);
    const isWhole =
      Number.isSafeInteger(size) && size >= 0 && Number.isSafeInteger(chunk) && chunk > 0 && chunk <= CHUNK;
    if (!isWhole || !Array.isArray(digests) || digests.length !== Math.ceil(size / chunk))
      throw invalid(
        `${manifestPath} has not all digests of the file ${file.path}; take the checkpoint anew`,
        file.path,
      );
  }
}

/**
 * Sizes of all files are right, none is missing, and each is a regular file that no symlink leads to.
 * @throws SiltError CHECKPOINT_INVALID naming the first that is not.
 */
export function checkSizes(directory: string, manifest: Manifest): void {
  const real = new Set(['.']);
  const checkParent = (parent: string, path: string): void => {
    if (real.has(parent)) return;
    checkParent(dirname(parent), path);
    const found = lstatSync(join(directory, parent), { throwIfNoEntry: false });
    if (found === undefined) throw invalid(`the checkpoint ${directory} is incomplete: ${path} is missing`, path);
    if (!found.isDirectory()) throw irregular(directory, path, `${parent} is no directory`);
    real.add(parent);
  };
  for (const { path, size } of manifest.files) {
    checkParent(dirname(path), path);
    const found = lstatSync(join(directory, path), { throwIfNoEntry: false });
    if (found === undefined) throw invalid(`the checkpoint ${directory} is incomplete: ${path} is missing`, path);
    if (!found.isFile()) throw irregular(directory, path, 'it is no regular file');
    if (found.size !== size)
      throw invalid(`the checkpoint ${directory} is damaged: ${path} has ${found.size} bytes, not ${size}`, path);
  }
}

/** Opens a file of the manifest's list to read it; the fd is the caller's to close. @throws SiltError CHECKPOINT_INVALID for a symlink. */
export function openListed(directory: string, { path }: Pick<CheckpointFile, 'path'>): number {
  try {
    return openSync(join(directory, path), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOOP') throw error;
    throw irregular(directory, path, 'it is no regular file');
  }
}

/**
 * Reads a file, or some of its chunks, and compares the digests.
 * @throws SiltError CHECKPOINT_INVALID naming file and place.
 */
export async function verifyFile(directory: string, file: CheckpointFile, chunks?: Iterable<number>): Promise<void> {
  const { algorithm, digests } = digestsOf(file);
  const opened = openListed(directory, file);
  try {
    await eachDigest(opened, { ...file, algorithm }, [...(chunks ?? digests.keys())], (index, found) => {
      if (found !== digests[index]) throw damaged(directory, file, index);
    });
  } finally {
    closeSync(opened);
  }
}

/** A small file whole, whose digests are right. @throws SiltError CHECKPOINT_INVALID. */
export function readVerified(directory: string, file: CheckpointFile): Buffer {
  const opened = openListed(directory, file);
  let bytes: Buffer;
  try {
    bytes = readFileSync(opened);
  } finally {
    closeSync(opened);
  }
  const { algorithm, digests } = digestsOf(file);
  digests.forEach((wanted, index) => {
    const found = digest(bytes.subarray(index * file.chunk, (index + 1) * file.chunk), algorithm);
    if (found !== wanted) throw damaged(directory, file, index);
  });
  return bytes.subarray(0, file.size);
}

export function damaged(directory: string, { path, chunk, size }: CheckpointFile, index: number): SiltError {
  const [from, to] = [index * chunk, Math.min((index + 1) * chunk, size)];
  return invalid(
    `the checkpoint ${directory} is damaged: ${path} has changed between its bytes ${from} and ${to}`,
    path,
  );
}

/** The terminal, as it is to be opened; none without one. */
export function terminalsOf({
  terminals,
  terminal,
}: Pick<Manifest, 'terminals' | 'terminal'>): readonly SavedTerminal[] {
  return terminals ?? (terminal === undefined ? [] : [{ key: terminal, flags: 0 }]);
}

/** Directory of CRIU's images, relative to that of the checkpoint. */
export function processDirectory({ version }: Pick<Manifest, 'version'>): string {
  return version === 1 ? 'process' : '.';
}

/** Whether a file lies where CRIU looks for its images, and is named as they are. */
export function isImage(path: string, manifest: Pick<Manifest, 'version'>): boolean {
  return dirname(path) === processDirectory(manifest) && path.endsWith('.img');
}

/** CRIU's images, each by the name that CRIU opens it by. */
export function imagesOf(manifest: Pick<Manifest, 'version' | 'files'>): Map<string, CheckpointFile> {
  const images = manifest.files.filter(({ path }) => isImage(path, manifest));
  return new Map(images.map((file) => [basename(file.path), file]));
}

/** Whether a file is one of those with the contents of memory, which may be large. */
export function isMemory({ path }: Pick<CheckpointFile, 'path'>): boolean {
  return /^(process\/)?pages-.*\.img$/.test(path);
}

function irregular(directory: string, path: string, reason: string): SiltError {
  return invalid(`the checkpoint ${directory} cannot be trusted with ${path}: ${reason}`, path);
}

function invalid(message: string, path: string): SiltError {
  return new SiltError('CHECKPOINT_INVALID', message, { path });
}
