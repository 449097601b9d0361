import { closeSync, fstatSync } from 'node:fs';
import {
  AT_FDCWD,
  cloneTree,
  close,
  errnoNumber,
  type Kernel,
  mount,
  openat2,
  ProgramBuilder,
  type Slot,
  unshare,
} from '../../syscall';
import { AttachedOverlays, DetachedOverlays, takesDetachedLayers } from '../../gofer';
import { report } from '../programs/reports';

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
    // An overlay without an upper takes two layers at least.
    if (this.layers.length === 1) {
      const p = new ProgramBuilder();
      const [layer] = cloneLayers(p, this.layers);
      return this.kernel.run(p.build()).get(layer!.mount);
    }
    if (!takesDetachedLayers(this.kernel.version)) return mountApart(this.kernel, this.layers);
    const p = new ProgramBuilder();
    const lowers = cloneLayers(p, this.layers);
    const overlay = new DetachedOverlays().make(p, { lowers, nodev: false });
    for (const { mount } of lowers) close(p, mount);
    return this.kernel.run(p.build()).get(overlay);
  }
}

function cloneLayers(p: ProgramBuilder, layers: readonly string[]): { mount: Slot; step: string }[] {
  const step = 'mounting the layers of the image';
  p.step(step);
  return layers.map((layer) => ({ mount: cloneTree(p, AT_FDCWD, layer, { name: 'layer' }), step }));
}

/** In a process of its own, for the mount namespace that it takes; the mount outlives both. */
function mountApart(kernel: Kernel, layers: readonly string[]): number {
  const p = new ProgramBuilder();
  p.step('mounting the layers of the image');
  p.call('setpgid', [0, 0]);
  unshare(p, 'CLONE_NEWNS');
  mount(p, 'none', '/', null, 'MS_REC|MS_PRIVATE');
  const lowers = cloneLayers(p, layers);
  // A directory on every host.
  const overlays = new AttachedOverlays('/proc');
  overlays.prepare(p);
  report(p, 'image', [overlays.make(p, { lowers, nodev: false })]);
  return kernel.runApart(p.build()).flatMap(({ fds }) => fds)[0]!;
}
