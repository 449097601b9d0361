/** `tmpcopyup`: a tmpfs that starts with what the image has where it is mounted. */
import {
  chmodSync,
  closeSync,
  copyFileSync,
  type Dirent,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  type Stats,
  symlinkSync,
} from 'node:fs';
import { SiltError } from '../../errors';
import { type CopyUp, type IdMaps, makeFilesystem, toHost } from '../../gofer';
import { AT_FDCWD, type Kernel, makedev, mknodat, ProgramBuilder } from '../../syscall';
import type { ImageView } from './image-view';

/** Whom an id is shown as that the container does not have. */
const NOBODY = 65534;
const SLASH = Buffer.from('/');

/**
 * Makes the filesystem, attached nowhere yet, and copies the directory into it: files, directories, symlinks, devices and fifos with
 * owner, mode and times. Nobody else has it in sight, and the image does not change meanwhile, so it goes by paths.
 * Returns the fd of the mount, the caller's to close.
 * @param idMaps the container's ids, which the image's are
 * @throws SiltError SYSCALL_FAILED naming the file, when it does not fit, say.
 */
export function copyUp(kernel: Kernel, view: ImageView, { step }: CopyUp, idMaps: IdMaps | null): number {
  const source = view.openDirectory(step.destination);
  try {
    const p = new ProgramBuilder();
    p.step(`making the ${step.type} of ${step.destination}`);
    const slot = makeFilesystem(p, step);
    const fd = kernel.run(p.build()).get(slot);
    try {
      if (source !== undefined) new Copier(kernel, step.destination, idMaps).directory(procPath(source), procPath(fd));
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } finally {
    if (source !== undefined) closeSync(source);
  }
}

function procPath(fd: number): Buffer {
  return Buffer.from(`/proc/self/fd/${fd}`);
}

class Copier {
  constructor(
    private readonly kernel: Kernel,
    private readonly destination: string,
    private readonly idMaps: IdMaps | null,
  ) {}

  /** What is in one directory into another that is there. */
  directory(from: Buffer, to: Buffer): void {
    for (const entry of readdirSync(from, { withFileTypes: true, encoding: 'buffer' })) this.#entry(entry, from, to);
  }

  #entry(entry: Dirent<Buffer>, fromDirectory: Buffer, toDirectory: Buffer): void {
    // Names are bytes, in no encoding.
    const from = Buffer.concat([fromDirectory, SLASH, entry.name]);
    const to = Buffer.concat([toDirectory, SLASH, entry.name]);
    try {
      const stat = lstatSync(from);
      if (entry.isSocket()) return;
      if (entry.isSymbolicLink()) symlinkSync(readlinkSync(from, { encoding: 'buffer' }), to);
      else if (entry.isDirectory()) mkdirSync(to, 0o700);
      else if (entry.isFile()) copyFileSync(from, to);
      else this.#node(to, stat);
      if (entry.isDirectory()) this.directory(from, to);
      this.#attributes(to, stat, entry.isSymbolicLink());
    } catch (error) {
      if (error instanceof SiltError) throw error;
      const { code = '', message } = error as NodeJS.ErrnoException;
      const name = `${this.destination}/${entry.name.toString()}`;
      const text = `cannot copy ${name} of the image into its tmpfs (tmpcopyup): ${code === '' ? message : code}`;
      throw new SiltError('SYSCALL_FAILED', text, { path: name, errno: code }, { cause: error });
    }
  }

  #node(to: Buffer, stat: Stats): void {
    const p = new ProgramBuilder();
    p.step(`making a node below ${this.destination}`);
    const type = stat.isFIFO() ? 'S_IFIFO' : stat.isBlockDevice() ? 'S_IFBLK' : 'S_IFCHR';
    const device = stat.isFIFO() ? 0 : makedev(majorOf(stat.rdev), minorOf(stat.rdev));
    mknodat(p, AT_FDCWD, to, type, 0o600, device);
    this.kernel.run(p.build());
  }

  #attributes(to: Buffer, stat: Stats, isLink: boolean): void {
    lchownSync(to, this.#owner('uids', stat.uid), this.#owner('gids', stat.gid));
    // After the owner, whose change takes setuid away.
    if (!isLink) chmodSync(to, stat.mode & 0o7777);
    lutimesSync(to, stat.atime, stat.mtime);
  }

  /** The host's id of what a layer has on disk: the container's ids, or the host's where the engine has put those there already. */
  #owner(kind: 'uids' | 'gids', id: number): number {
    if (this.idMaps === null) return id;
    const ranges = this.idMaps[kind];
    if (ranges.some(({ hostID, size }) => id >= hostID && id < hostID + size)) return id;
    return toHost(ranges, id) ?? toHost(ranges, NOBODY) ?? NOBODY;
  }
}

/** gnu_dev_major and gnu_dev_minor of what stat(2) gives. */
function majorOf(rdev: number): number {
  return (rdev >>> 8) & 0xfff;
}
function minorOf(rdev: number): number {
  return (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
}
