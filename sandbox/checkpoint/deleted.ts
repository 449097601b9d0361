/**
 * Files without a name, which live only as long as processes have them open. CRIU could bring them back only into a mount
 * namespace of its own making; so silt saves their contents, makes them anew beside the restored container's upper, and gives
 * CRIU each of their open file descriptions.
 */
import { chownSync, closeSync, constants, mkdirSync, openSync, promises, rmSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import type { IdMaps } from '../../gofer';
import { C, type Kernel, ProgramBuilder } from '../../syscall';
import { pack } from '../archive';
import type { Pod } from '../pod/pod';
import { openSeed, seedUpper } from '../seed/seed';
import type { Workshop } from '../workshop';
import { deletedKey } from '../checkpoint-image/normalise';
import type { DeletedFile } from './outside';
import type { RestoreRequest } from './restore-request';

/** The archive of a checkpoint's deleted files, each named by a number. */
export const DELETED = 'deleted.tar';
/** Larger ones are refused: nobody sees how much they take. */
const LIMIT = 2 ** 30;
const BLOCK = 1 << 20;

export function nameOfDeleted(index: number): string {
  return `${index}`;
}

/**
 * Writes the archive of deleted files, whose users stand still; none when there is no such file.
 * @param target `create` makes a file of the checkpoint and returns its fd, closed by this
 * @throws SiltError CHECKPOINT_FAILED for one that is too large.
 */
export async function saveDeleted(
  kernel: Kernel,
  files: readonly DeletedFile[],
  target: { readonly temporary: string; readonly create: (name: string) => number; readonly idMaps: IdMaps | null },
): Promise<void> {
  if (files.length === 0) return;
  const directory = join(target.temporary, 'deleted');
  mkdirSync(directory, { mode: 0o700 });
  for (const [i, file] of files.entries()) await copySparse(file, join(directory, nameOfDeleted(i)));
  const from = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  const out = target.create(DELETED);
  try {
    const { idMaps } = target;
    await pack({ runner: kernel.runner, upperFd: from, outFd: out, ...(idMaps ? { idMaps } : {}) });
  } finally {
    closeSync(out);
    closeSync(from);
    rmSync(directory, { recursive: true });
  }
}

/** A copy with the same owner and mode; what is zero in the original takes no space in it. */
async function copySparse({ link, path }: DeletedFile, to: string): Promise<void> {
  const from = await promises.open(link, constants.O_RDONLY | constants.O_NONBLOCK);
  let out: FileHandle | undefined;
  try {
    const { size, blocks, uid, gid, mode } = await from.stat();
    if (blocks * 512 > LIMIT) {
      const message = `the deleted file ${path}, which is open, has ${blocks * 512} bytes; at most ${LIMIT} can be saved`;
      throw new SiltError('CHECKPOINT_FAILED', message, { path });
    }
    out = await promises.open(to, 'wx', 0o600);
    const buffer = Buffer.alloc(BLOCK);
    const zeros = Buffer.alloc(BLOCK);
    for (let at = 0; at < size;) {
      const { bytesRead } = await from.read(buffer, 0, BLOCK, at);
      if (bytesRead === 0) break;
      const read = buffer.subarray(0, bytesRead);
      if (!read.equals(zeros.subarray(0, bytesRead))) await out.write(read, 0, bytesRead, at);
      at += bytesRead;
    }
    await out.truncate(size);
    await out.chown(uid, gid);
    await out.chmod(mode & 0o7777);
  } finally {
    await from.close();
    await out?.close();
  }
}

/** A file that CRIU is given by a key. */
export interface InheritedFile {
  readonly key: string;
  readonly fd: number;
}

/**
 * Makes a checkpoint's deleted files anew and opens them as they were open. The fds are the caller's to close.
 * @throws SiltError as unpacking does; nothing stays open then.
 */
export async function openDeleted(workshop: Workshop, pod: Pod, request: RestoreRequest): Promise<InheritedFile[]> {
  const { image, upper, plan, id } = request;
  const { deleted = [] } = image.manifest;
  if (deleted.length === 0) return [];
  const name = `.deleted-${id}`;
  const directory = `/proc/self/fd/${upper}/${name}`;
  const archive = openSeed(join(image.directory, DELETED));
  const opened: InheritedFile[] = [];
  try {
    mkdirSync(directory, { mode: 0o700 });
    const { cgroup, userns, podRoot } = plan;
    if (userns) chownSync(directory, podRoot.uid, podRoot.gid);
    await seedUpper(workshop, {
      archive,
      upper,
      directory: name,
      idMaps: userns ? pod.idMaps : null,
      cgroup,
      devices: [],
      isSaved: true,
    });
    for (const { id: number, name: file, flags, position } of deleted) {
      const kept = flags & (C.O_ACCMODE | C.O_APPEND | C.O_NONBLOCK);
      const fd = openSync(join(directory, file), kept | C.O_NOFOLLOW);
      opened.push({ key: deletedKey({ id: number }), fd });
      seek(workshop.kernel, fd, position);
    }
    return opened;
  } catch (error) {
    for (const { fd } of opened) closeSync(fd);
    throw error;
  } finally {
    closeSync(archive);
    rmSync(directory, { recursive: true, force: true });
  }
}

function seek(kernel: Kernel, fd: number, position: number): void {
  const p = new ProgramBuilder();
  p.step('setting the position in a deleted file').call('lseek', [fd, position, 0]);
  kernel.run(p.build());
}
