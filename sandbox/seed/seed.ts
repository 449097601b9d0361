import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { IdMaps } from '../../gofer';
import { C, type Kernel, ProgramBuilder } from '../../syscall';
import type { CgroupEntry } from '../cgroup';
import { readMark, writeMark } from './mark';
import { makeSmall } from './small';
import { runUnpacker } from './unpacker';
import type { AllowedDevice } from './unpacker-requests';
import type { Workshop } from '../workshop';

export interface SeedRequest {
  /** The archive: a plain, gzip or zstd tar, see {@link openSeed}. Borrowed. */
  readonly archive: number;
  /** A detached upper, see createUpper; with `merged` the root of an overlay that is mounted. Borrowed. */
  readonly upper: number;
  /** The name of the upper's directory in it. */
  readonly directory: string;
  readonly merged?: boolean;
  /** The upper outlives the container: one that has been filled is left as it is. The archive is noted for then. */
  readonly once?: { readonly path: string; readonly identity: string } | undefined;
  /** The pod's ids, or null. */
  readonly idMaps: IdMaps | null;
  readonly cgroup: CgroupEntry;
  /** Device nodes that the archive may hold besides whiteouts. */
  readonly devices: readonly AllowedDevice[];
  /** How many processes of that cgroup the OOM killer has killed; tells why an unpacker that was killed was. */
  readonly oomKills?: () => bigint;
  /** Part of a checkpoint, which silt has written and whose digests have been found right: read by this process, if it is small. */
  readonly isSaved?: boolean;
}

/** Whose root is host root in no more than name: all ids are the host's. */
const ALL_IDS = [{ containerID: 0, hostID: 0, size: 0xffff_ffff }];

/**
 * Fills an upper from an archive, in a process of its own that has nothing but the two.
 * @throws SiltError ARCHIVE_INVALID, ARCHIVE_TRUNCATED, NO_SPACE with the entry and its byte offset. What was made until then stays
 * in the upper, which the caller throws away, or the engine has it.
 */
export async function seedUpper(
  workshop: Pick<Workshop, 'kernel' | 'host' | 'onProgress' | 'warn'>,
  request: SeedRequest,
): Promise<void> {
  const { kernel } = workshop;
  const directory = openUpper(kernel, request);
  const { archive, cgroup, devices, merged = false, once, oomKills = () => 0n } = request;
  const idMaps = request.idMaps ?? { uids: ALL_IDS, gids: ALL_IDS };
  try {
    const before = once && readMark(kernel, directory);
    if (before !== undefined) {
      if (once && before !== '' && before !== once.identity) workshop.warn?.(isAnother(before, once));
      return;
    }
    if (request.isSaved && (await makeSmall(kernel, { archive, directory, idMaps, cgroup }))) return;
    const how = { idmapped: false, merged, maxBytes: Infinity };
    await runUnpacker(workshop, { archive, directory, idMaps, cgroup, devices, oomKills, ...how });
    if (once) writeMark(kernel, directory, once.identity);
  } finally {
    closeSync(directory);
  }
}

/** Not an error: a container whose snapshot was saved over its own seed is to be started again as it was. */
function isAnother(before: string, { path, identity }: NonNullable<SeedRequest['once']>): string {
  return `the seed ${path} is now another archive (${identity}) than the one that the root filesystem was made from (${before}); the container goes on with what it has; to start from the new one, make a new container`;
}

/**
 * Opens an archive: a regular file, not through a symlink in the last component, and without waiting for a fifo's writer.
 * The fd is the caller's. @throws SiltError SEED_UNREADABLE.
 */
export function openSeed(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const why: Readonly<Record<string, string>> = {
      ENOENT: 'there is no such file',
      ELOOP: 'it is a symbolic link',
      ENXIO: 'it is a socket',
    };
    throw new SiltError(
      'SEED_UNREADABLE',
      `cannot open the archive: ${why[code] ?? code}`,
      { path, errno: code },
      { cause: error },
    );
  }
  const stat = fstatSync(fd);
  if (stat.isFile()) return fd;
  closeSync(fd);
  const kind = stat.isDirectory() ? 'a directory' : stat.isFIFO() ? 'a fifo' : 'a device';
  throw new SiltError('SEED_UNREADABLE', `the archive is ${kind}, not a regular file`, { path });
}

function openUpper(kernel: Kernel, { upper, directory }: SeedRequest): number {
  const p = new ProgramBuilder();
  const fd = p.slot('fs');
  p.step('opening the upper').call(
    'openat',
    [upper, p.string(directory), C.O_RDONLY | C.O_DIRECTORY | C.O_CLOEXEC, 0],
    {
      out: fd,
    },
  );
  return kernel.run(p.build()).get(fd);
}
