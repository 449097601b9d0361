import type { Stats } from 'node:fs';
import type { Owner } from '../gofer';
import {
  C,
  close,
  fchmodat,
  fchownat,
  fsconfigCreate,
  fsconfigString,
  fsmount,
  fsopen,
  type Kernel,
  mkdirat,
  ProgramBuilder,
} from '../syscall';

export interface UpperOptions {
  readonly id: string;
  /** The pod's root as the host numbers it: owns the work directory. */
  readonly owner: Owner;
  /** Who owns the root directory of the container's filesystem, and its mode: what the topmost layer says. */
  readonly rootOwner: Owner;
  readonly rootMode: number;
  /** tmpfs(5) `size`: bytes, or a percentage of the memory. */
  readonly size: string;
}

/**
 * A tmpfs for one container's overlay: `fs`, the upper, and `work`, the overlay's work directory. It is attached nowhere.
 * Returns the fd of its root, the caller's to close; the tmpfs lives as long as that, or what it is attached to.
 */
export function createUpper(kernel: Kernel, options: UpperOptions): number {
  const p = new ProgramBuilder();
  p.step(`making the upper of ${options.id}`);
  const context = fsopen(p, 'tmpfs');
  fsconfigString(p, context, 'source', 'silt-upper');
  fsconfigString(p, context, 'mode', '700');
  fsconfigString(p, context, 'size', options.size);
  fsconfigCreate(p, context);
  const upper = fsmount(p, context, C.MOUNT_ATTR_NODEV, 'upper');
  close(p, context);
  mkdirat(p, upper, 'fs', 0o755);
  fchownat(p, upper, 'fs', options.rootOwner.uid, options.rootOwner.gid);
  fchmodat(p, upper, 'fs', options.rootMode);
  mkdirat(p, upper, 'work', 0o700);
  fchownat(p, upper, 'work', options.owner.uid, options.owner.gid);
  return kernel.run(p.build()).get(upper);
}

/** The mode bits of a stat. */
export function modeBits(stat: Stats): number {
  return stat.mode & 0o7777;
}
