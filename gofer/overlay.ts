import {
  AT_FDCWD,
  attachAt,
  C,
  chdir,
  cloneTree,
  close,
  type Fd,
  flags,
  fsconfigCreate,
  fsconfigFd,
  fsconfigString,
  fsmount,
  fsopen,
  isAtLeast,
  mkdirat,
  mount,
  openat,
  type ProgramBuilder,
  type Slot,
  type Version,
} from '../syscall';
import { contextData } from './mount-label';

/** A stranger's upper: marks in it that lead elsewhere must not be followed, and new ones are not made: it stays a plain layer. */
const PLAIN = [
  ['redirect_dir', 'nofollow'],
  ['metacopy', 'off'],
  ['index', 'off'],
] as const;

export interface OverlayRequest {
  /** Mounts that are attached nowhere yet, the topmost first, each with the step that is said to fail when overlayfs refuses it. */
  readonly lowers: readonly { readonly mount: Fd; readonly step: string }[];
  /** Names in the mount of the uppers; undefined for an overlay that takes no writes. */
  readonly upper?: { readonly fs: string; readonly work: string } | undefined;
  readonly nodev: boolean;
  /** SELinux's label of everything in it. */
  readonly mountLabel?: string | undefined;
}

/** The overlays of one root filesystem: the one place that knows how overlayfs is given its layers. */
export interface Overlays {
  /** Once, before the first overlay and after everything that lies beneath a host path which the overlays may cover has been opened. */
  prepare(p: ProgramBuilder): void;
  /** Returns the fd of a mount that the caller attaches to its place; the fds of the layers may be closed then. */
  make(p: ProgramBuilder, request: OverlayRequest): Slot;
  /** Lets a mount that is new and attached nowhere be cloned by open_tree(2). */
  allowClones(p: ProgramBuilder, mount: Fd): void;
  /** A mount of the uppers to be attached elsewhere when the overlays are made. */
  upperToKeep(p: ProgramBuilder): Fd;
}

/** The kernel from which on overlayfs takes layers that are attached nowhere, and open_tree(2) clones those. */
const DETACHED_LAYERS: Version = [6, 15];

export function takesDetachedLayers(kernel: Version): boolean {
  return isAtLeast(kernel, DETACHED_LAYERS);
}

/** Layers are given by their fds and are attached nowhere at any time. */
export class DetachedOverlays implements Overlays {
  /** @param uppers the mount that holds the uppers and their work directories */
  constructor(private readonly uppers?: Fd) {}

  prepare(): void {
    // Nothing has to be attached.
  }

  make(p: ProgramBuilder, { lowers, upper, nodev, mountLabel }: OverlayRequest): Slot {
    p.step('opening the overlay filesystem');
    const context = fsopen(p, 'overlay');
    fsconfigString(p, context, 'source', 'overlay');
    for (const lower of lowers) {
      p.step(lower.step);
      fsconfigFd(p, context, 'lowerdir+', lower.mount);
    }
    const opened: Slot[] = [];
    if (upper) {
      p.step('adding the upper');
      for (const [key, name] of [
        ['upperdir', upper.fs],
        ['workdir', upper.work],
      ] as const) {
        const fd = p.slot(key);
        p.call('openat', [this.uppers!, p.string(name), flags('O_PATH|O_DIRECTORY|O_CLOEXEC'), 0], { out: fd });
        fsconfigFd(p, context, key, fd);
        opened.push(fd);
      }
    }
    for (const [key, value] of [...PLAIN, ...contextData(mountLabel)]) fsconfigString(p, context, key, value);
    p.step('mounting the overlay');
    fsconfigCreate(p, context);
    const overlay = fsmount(p, context, nodev ? C.MOUNT_ATTR_NODEV : 0, 'overlay');
    for (const fd of [...opened, context]) close(p, fd);
    return overlay;
  }

  allowClones(): void {
    // They are.
  }

  upperToKeep(): Fd {
    return this.uppers!;
  }
}

/**
 * For kernels before 6.15: overlayfs takes its layers by path, and clones what is attached in the caller's mount namespace only. So
 * layers and uppers are attached on a small tmpfs that covers a directory, in a mount namespace of the process's own whose mounts do
 * not propagate. It is the working directory then, which keeps paths short: mount(2) takes a page of options, which is enough
 * for all the layers that an overlay may have, 500. The tmpfs goes with that mount namespace, or the root that it is in.
 */
export class AttachedOverlays implements Overlays {
  #attached = 0;

  /** @param place an absolute directory of the host, covered from {@link prepare} on; overlays can be attached to it in turn */
  constructor(
    private readonly place: string,
    private readonly uppers?: Fd,
  ) {}

  prepare(p: ProgramBuilder): void {
    p.step('making a place for layers');
    mount(p, 'silt-layers', this.place, 'tmpfs', 'MS_NOSUID|MS_NODEV|MS_NOEXEC', 'mode=700,size=1m');
    chdir(p, this.place);
    if (this.uppers !== undefined) this.#attach(p, this.uppers, UPPERS);
  }

  make(p: ProgramBuilder, { lowers, upper, nodev, mountLabel }: OverlayRequest): Slot {
    const layers = lowers.map(({ mount: lower, step }) => {
      p.step(step);
      return this.#attachNext(p, lower);
    });
    p.step('mounting the overlay');
    const target = this.#makeNext(p);
    const options = [['lowerdir', layers.join(':')]];
    if (upper) {
      options.push(['upperdir', `${UPPERS}/${escape(upper.fs)}`], ['workdir', `${UPPERS}/${escape(upper.work)}`]);
    }
    // A label has commas: mount(2) takes it in quotes, which fsconfig(2) would take for a part of it.
    options.push(...contextData(mountLabel).map(([key, label]) => [key, `"${label}"`]));
    const data = [...options, ...PLAIN].map((option) => option.join('=')).join(',');
    mount(p, 'overlay', target, 'overlay', nodev ? 'MS_NODEV' : 0, data);
    const overlay = p.slot('overlay');
    openat(p, AT_FDCWD, target, 'O_PATH|O_DIRECTORY', { out: overlay });
    return overlay;
  }

  allowClones(p: ProgramBuilder, mounted: Fd): void {
    this.#attachNext(p, mounted);
  }

  upperToKeep(p: ProgramBuilder): Fd {
    return cloneTree(p, this.uppers!, '', { name: 'upper_to_keep' });
  }

  #attachNext(p: ProgramBuilder, mounted: Fd): string {
    const name = `${this.#attached++}`;
    this.#attach(p, mounted, name);
    return name;
  }

  #attach(p: ProgramBuilder, mounted: Fd, name: string): void {
    mkdirat(p, AT_FDCWD, name, 0o700);
    attachAt(p, mounted, AT_FDCWD, name);
  }

  #makeNext(p: ProgramBuilder): string {
    const name = `${this.#attached++}`;
    mkdirat(p, AT_FDCWD, name, 0o700);
    return name;
  }
}

const UPPERS = 'uppers';

/** What separates options and layers is escaped by a backslash (overlayfs.rst). */
function escape(name: string): string {
  return name.replace(/[\\,:]/g, '\\$&');
}
