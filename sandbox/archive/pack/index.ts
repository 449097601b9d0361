/** Writes the upper directory of a container as an archive. */
import type { OnWarning } from '../entry';
import { C } from '../../../syscall';
import { SiltError } from '../../../errors';
import { Batch } from '../io/batch';
import { allocHow, close, openat2 } from '../io/calls';
import type { IdMaps } from './ids';
import { Output } from './output';
import { Packer, type PackRunner, type SharedSeed } from './packer';

export type { SharedSeed } from './packer';

export interface PackOptions {
  /** The native addon. */
  readonly runner: PackRunner;
  /** The upper's directory. Borrowed. */
  readonly upperFd: number;
  /** The read-only layer, made of a seed, that the upper lies on: it is packed with the upper. */
  readonly shared?: SharedSeed;
  /** A file, from its offset on, or a pipe. Borrowed. */
  readonly outFd: number;
  /** The ids of the container; none: those of the host. */
  readonly idMaps?: IdMaps;
  /** Told of sockets, ids and attributes that the archive cannot have, and of what changed while it was read. */
  readonly onWarning?: OnWarning;
  /** Looked at every so often; its reason is thrown. */
  readonly signal?: AbortSignal;
}

export interface PackResult {
  readonly entries: number;
  /** Size of the archive. */
  readonly bytes: number;
}

/**
 * Writes the archive, ended by two blocks of zeros; does not sync it. The same upper gives the same bytes. Must have the
 * rights of host root over the upper, to read its opaque marks.
 *
 * While a program runs, the process's working directory may be one of the upper's; it is back before anything else runs.
 *
 * @throws SiltError NO_SPACE when the archive's filesystem is full, SYSCALL_FAILED for what cannot be read or written.
 */
export async function pack({
  runner,
  upperFd,
  shared,
  outFd,
  idMaps,
  onWarning = () => undefined,
  signal,
}: PackOptions): Promise<PackResult> {
  const output = new Output(runner, outFd);
  const batch = new Batch(runner, { imageSize: 4096, maxCalls: 4 });
  const here = openHere(batch);
  try {
    const packer = new Packer({ runner, upperFd, shared, output, idMaps, onWarning, signal, here });
    await packer.run();
    output.zeros(END);
    output.flush();
    return { entries: packer.entries, bytes: output.offset };
  } finally {
    batch.clear();
    close(batch, here);
    batch.run();
  }
}

const END = 1024;

function openHere(batch: Batch): number {
  const result = batch.newSlot();
  openat2(batch, result, C.AT_FDCWD, batch.string('.'), allocHow(batch, C.O_PATH | C.O_DIRECTORY));
  const failure = batch.run();
  if (!failure) return batch.slot(result);
  throw new SiltError('SYSCALL_FAILED', `opening the working directory: ${failure.errno}`, { errno: failure.errno });
}
