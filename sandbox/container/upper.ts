import { closeSync, type Stats } from 'node:fs';
import { basename, dirname } from 'node:path';
import { SiltError } from '../../errors';
import type { EngineRoot, Owner } from '../../gofer';
import type { Spec } from '../../oci';
import {
  AT_FDCWD,
  C,
  cloneTree,
  close,
  type Fd,
  fchmodat,
  fchownat,
  fsconfigCreate,
  fsconfigString,
  fsmount,
  fsopen,
  type Kernel,
  mkdirat,
  mountSetattr,
  ProgramBuilder,
  type Slot,
} from '../../syscall';
import type { Config } from '../config/config';
import type { ContainerRequest } from './plan';
import { type Filestore, filestorePath, mountFilestore } from '../filestore';

/** What a container's writes go to. */
export type UpperPlan =
  /** A tmpfs. `size` as tmpfs(5) has it: bytes, or a percentage of the memory. */
  | { readonly kind: 'memory'; readonly size: string }
  /** A file with a filesystem in it; one that has a name has to be hidden from the application. */
  | ({ readonly kind: 'filestore' } & Filestore)
  /** The upper of the engine's own overlay: `fs` and `work` are names in `directory`. */
  | { readonly kind: 'engine'; readonly directory: string; readonly fs: string; readonly work: string }
  /** The engine's root filesystem itself: no overlay, or one that it has mounted, whose upper is `changes`. */
  | { readonly kind: 'none'; readonly changes?: string };

const NAMES = { fs: 'fs', work: 'work' };

/** The names of the upper and the overlay's work directory in what {@link createUpper} makes; null without an upper. */
export function upperNames(plan: UpperPlan): { fs: string; work: string } | null {
  if (plan.kind === 'none') return null;
  return plan.kind === 'engine' ? { fs: plan.fs, work: plan.work } : NAMES;
}

/**
 * Decides where the writes of a container go.
 * @throws SiltError ROOTFS_INVALID when the engine's root filesystem cannot take them and must.
 */
export function planUpper(
  { id, rootfs: { own }, spec }: Pick<ContainerRequest, 'id' | 'rootfs' | 'spec'>,
  { overlay, upperSize }: Config,
): UpperPlan {
  const sizeBytes = overlay.scope === 'none' ? undefined : overlay.medium.sizeBytes;
  const memory: UpperPlan = { kind: 'memory', size: memorySize(spec, sizeBytes, upperSize) };
  if (overlay.scope !== 'none' && overlay.medium.kind === 'memory') return memory;
  if (overlay.scope !== 'none' && overlay.medium.kind === 'directory')
    return { kind: 'filestore', directory: overlay.medium.directory!, name: undefined, sizeBytes };
  // A view that the engine does not want written to: what silt has to make in it (mount points) must not reach it.
  if (own === undefined) return memory;
  if (overlay.scope !== 'none') return { kind: 'filestore', directory: own.upper, name: id, sizeBytes };
  if (own.work === undefined) return { kind: 'none', ...(own.changes !== undefined && { changes: own.changes }) };
  const directory = dirname(own.upper);
  if (dirname(own.work) !== directory) {
    const message = `overlay2=none writes to the engine's own upper, which must lie beside its work directory; they are ${own.upper} and ${own.work}; choose another overlay2`;
    throw new SiltError('ROOTFS_INVALID', message, { path: own.upper });
  }
  return { kind: 'engine', directory, fs: basename(own.upper), work: basename(own.work) };
}

/** Half the container's memory limit, so that a full upper is ENOSPC and not the OOM killer; the configured size without one. */
function memorySize(spec: Spec, wanted: number | undefined, configured: string): string {
  if (wanted !== undefined) return `${wanted}`;
  const limit = spec.linux?.resources?.memory?.limit;
  if (limit === undefined || limit <= 0) return configured;
  return `${Math.max(Math.floor(limit / 2), 65536)}`;
}

export interface UpperOptions {
  readonly id: string;
  /** The pod's root as the host numbers it: owns the work directory. */
  readonly owner: Owner;
  /** Who owns the root directory of the container's filesystem, and its mode: what the topmost layer says. */
  readonly rootOwner: Owner;
  readonly rootMode: number;
  /** The pod's user namespace; borrowed. */
  readonly userns: number | undefined;
}

/**
 * Makes what the plan says: a mount, attached nowhere, with the upper and the overlay's work directory in it. Seen through it, ids
 * are the pod's as the host numbers them.
 * Returns the fd of its root, the caller's to close; a filesystem of its own lives as long as that, or what it is attached to.
 * Undefined without an upper.
 */
export function createUpper(kernel: Kernel, plan: UpperPlan, options: UpperOptions): number | undefined {
  if (plan.kind === 'none') return undefined;
  if (plan.kind === 'filestore') return createInFilestore(kernel, plan, options);
  const p = new ProgramBuilder();
  p.step(`making the upper of ${options.id}`);
  const upper = plan.kind === 'engine' ? cloneEngineUpper(p, plan.directory, options) : mountTmpfs(p, plan.size);
  if (plan.kind !== 'engine') makeDirectories(p, upper, options);
  return kernel.run(p.build()).get(upper);
}

function createInFilestore(kernel: Kernel, store: Filestore, options: UpperOptions): number {
  const upper = mountFilestore(kernel, store);
  try {
    const p = new ProgramBuilder();
    p.step(`making the upper of ${options.id}`);
    makeDirectories(p, upper, options);
    kernel.run(p.build());
    return upper;
  } catch (error) {
    closeSync(upper);
    throw error;
  }
}

/**
 * Is there to be a layer that hides filestores (mountCover)? Where the container has one in its root filesystem; and where that is a
 * directory which other containers may have as theirs, be it one on which an overlay is mounted, which is not told from Docker's: an
 * overlay that the engine has silt mount is one container's.
 */
export function needsCover(plan: UpperPlan, { layers, own }: EngineRoot): boolean {
  if (plan.kind === 'none' || plan.kind === 'engine') return false;
  if (plan.kind === 'filestore' && plan.name !== undefined) return true;
  return own === undefined ? layers.length === 1 : own.work === undefined;
}

/** What has to be deleted with the container, as an absolute path. */
export function namedFilestore(plan: UpperPlan): string | undefined {
  if (plan.kind !== 'filestore' || plan.name === undefined) return undefined;
  return filestorePath(plan.directory, plan.name);
}

function mountTmpfs(p: ProgramBuilder, size: string): Slot {
  const context = fsopen(p, 'tmpfs');
  fsconfigString(p, context, 'source', 'silt-upper');
  fsconfigString(p, context, 'mode', '700');
  fsconfigString(p, context, 'size', size);
  const inodes = inodesFor(size);
  if (inodes !== undefined) fsconfigString(p, context, 'nr_inodes', `${inodes}`);
  fsconfigCreate(p, context);
  const upper = fsmount(p, context, C.MOUNT_ATTR_NODEV, 'upper');
  close(p, context);
  return upper;
}

/**
 * Bytes of a tmpfs for each of its inodes: twice as many as the kernel gives a tmpfs without limits (tmpfs(5)), for it counts each
 * hard link as one too (shmem_link), of which package managers make a forest.
 */
const BYTES_PER_INODE = 2048;
const LEAST_INODES = 1024;

/**
 * Files without contents take no part of the size, but a kilobyte and more each of the container's memory limit: without a bound of
 * their own many of them are not ENOSPC, but the OOM killer. Undefined for a share of the machine's memory, where the kernel's bound is one.
 */
function inodesFor(size: string): number | undefined {
  if (!/^\d+$/.test(size)) return undefined;
  return Math.max(LEAST_INODES, Math.floor(Number(size) / BYTES_PER_INODE));
}

function cloneEngineUpper(p: ProgramBuilder, directory: string, { userns }: UpperOptions): Slot {
  const upper = cloneTree(p, AT_FDCWD, directory, { name: 'upper' });
  mountSetattr(p, upper, { set: C.MOUNT_ATTR_NODEV, ...(userns === undefined ? {} : { userns }) });
  return upper;
}

/** What the engine has mounted, as a mount that is attached nowhere: from its root no `..` leads to the host's. The fd is the caller's to close. */
export function cloneMounted(kernel: Kernel, directory: string): number {
  const p = new ProgramBuilder();
  p.step(`opening the root filesystem ${directory}`);
  const root = cloneTree(p, AT_FDCWD, directory, { name: 'root' });
  mountSetattr(p, root, { set: C.MOUNT_ATTR_NODEV });
  return kernel.run(p.build()).get(root);
}

function makeDirectories(p: ProgramBuilder, upper: Fd, { rootOwner, rootMode, owner }: UpperOptions): void {
  mkdirat(p, upper, NAMES.fs, 0o755);
  fchownat(p, upper, NAMES.fs, rootOwner.uid, rootOwner.gid);
  fchmodat(p, upper, NAMES.fs, rootMode);
  mkdirat(p, upper, NAMES.work, 0o700);
  fchownat(p, upper, NAMES.work, owner.uid, owner.gid);
}

/** The mode bits of a stat. */
export function modeBits(stat: Stats): number {
  return stat.mode & 0o7777;
}
