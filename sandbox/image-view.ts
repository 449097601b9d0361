import { closeSync, fstatSync } from 'node:fs';
import {
  AT_FDCWD,
  cloneTree,
  close,
  errnoNumber,
  fsconfigCreate,
  fsconfigFd,
  fsconfigString,
  fsmount,
  fsopen,
  type Kernel,
  openat2,
  ProgramBuilder,
  type Slot,
} from '../syscall';

const PATH_MAX = 4096;

/** The layers of an image as a container sees them that has changed nothing; mounted nowhere, and only when it is looked at. */
export class ImageView {
  #root: number | undefined;

  constructor(
    private readonly kernel: Kernel,
    /** The topmost first. */
    private readonly layers: readonly string[],
  ) {}

  /**
   * Is there something called this? The path is `a/b` in latin1, the root's is empty. Also true when that cannot be told: a mark
   * that hides nothing does no harm.
   */
  has(path: string): boolean {
    if (path === '') return true;
    const p = new ProgramBuilder();
    p.step('looking into the image');
    const fd = this.#open(p, path);
    const found = this.kernel.run(p.build()).get(fd);
    if (found >= 0) closeSync(found);
    return found !== -errnoNumber('ENOENT') && found !== -errnoNumber('ENOTDIR') && found !== -errnoNumber('ELOOP');
  }

  /** Where a symlink points; undefined when there is none of this name. The path is as for {@link has}. */
  linkAt(path: string): string | undefined {
    const p = new ProgramBuilder();
    p.step('looking at a link of the image');
    const fd = this.#open(p, path);
    const target = p.space(PATH_MAX);
    const size = p.slot('size');
    // With an empty name the link itself, which the fd stands for (readlinkat(2), Linux 2.6.39).
    p.call('readlinkat', [fd, p.string(''), target, PATH_MAX], { out: size, tolerate: 'all' });
    const ran = this.kernel.run(p.build());
    if (ran.get(fd) >= 0) closeSync(ran.get(fd));
    return ran.get(size) > 0 ? ran.at(target).toString('latin1', 0, ran.get(size)) : undefined;
  }

  /**
   * Opens the directory that an absolute path leads to, by links of the image where there are any, never out of it. The fd is the
   * caller's to close; undefined when there is none.
   */
  openDirectory(path: string): number | undefined {
    const p = new ProgramBuilder();
    p.step(`looking for ${path} in the image`);
    const root = (this.#root ??= this.#mount());
    const how = 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS';
    const fd = openat2(p, root, path.slice(1) || '.', 'O_RDONLY|O_DIRECTORY', how, {
      tolerate: ['ENOENT', 'ENOTDIR', 'ELOOP'],
    });
    const found = this.kernel.run(p.build()).get(fd);
    return found < 0 ? undefined : found;
  }

  /** The mode of that directory, without the type. */
  modeOf(path: string): number | undefined {
    const fd = this.openDirectory(path);
    if (fd === undefined) return undefined;
    try {
      return fstatSync(fd).mode & 0o7777;
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    if (this.#root !== undefined) closeSync(this.#root);
  }

  /** Adds to a program what opens a name without following any link; the slot has what openat2(2) answers. */
  #open(p: ProgramBuilder, path: string): Slot {
    const root = (this.#root ??= this.#mount());
    const how = 'RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS';
    return openat2(p, root, Buffer.from(path, 'latin1'), 'O_PATH|O_NOFOLLOW', how, { tolerate: 'all' });
  }

  #mount(): number {
    const p = new ProgramBuilder();
    p.step('mounting the layers of the image');
    const trees = this.layers.map((layer) => cloneTree(p, AT_FDCWD, layer, { name: 'layer' }));
    // An overlay without an upper takes two layers at least.
    if (trees.length === 1) return this.kernel.run(p.build()).get(trees[0]!);
    const context = fsopen(p, 'overlay');
    for (const tree of trees) fsconfigFd(p, context, 'lowerdir+', tree);
    fsconfigString(p, context, 'redirect_dir', 'nofollow');
    fsconfigString(p, context, 'metacopy', 'off');
    fsconfigCreate(p, context);
    const overlay = fsmount(p, context, 0, 'overlay');
    for (const fd of [...trees, context]) close(p, fd);
    return this.kernel.run(p.build()).get(overlay);
  }
}
