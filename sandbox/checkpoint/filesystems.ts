/** The tmpfs mounts of a container: what is in them is saved beside its upper. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { type IdMaps, mountDestination } from '../../gofer';
import type { Spec } from '../../oci';
import { type Kernel, openat2, ProgramBuilder } from '../../syscall';
import { type ArchiveWarning, pack } from '../archive';
import { CHECKPOINT_FILE, DIRECTORY, SPEC_ENVIRON } from '../application';
import { CPUINFO } from '../cpuid';
import type { SavedFilesystem } from '../checkpoint-image/manifest';
import { deviceOf, type MountInfo } from './outside';

/** The mounts of a spec whose contents live in memory only, by their destinations. */
function temporaryMounts(spec: Spec): string[] {
  return (spec.mounts ?? []).filter(({ type }) => type === 'tmpfs').map(mountDestination);
}

/** What a container was given at its creation, for comparing it with what it is restored into. */
export function describeMounts(spec: Spec): { destination: string; type: string }[] {
  return (spec.mounts ?? []).map(({ destination, type, options }) => ({
    destination,
    type:
      type === undefined || type === '' || options?.some((one) => one === 'bind' || one === 'rbind') ? 'bind' : type,
  }));
}

/**
 * Refuses mounts that silt has not made: nobody would make them again.
 * @param placeOf where a destination lies: the image may have a symlink on the way
 * @throws SiltError CHECKPOINT_FAILED naming them.
 */
export function refuseForeignMounts(
  mounts: readonly MountInfo[],
  spec: Spec,
  placeOf: (destination: string) => string,
): void {
  const given = describeMounts(spec).flatMap(({ destination, type }) => [
    { place: destination, type },
    { place: placeOf(destination), type },
  ]);
  const own = [
    ...given.map(({ place }) => place),
    ...(spec.linux?.maskedPaths ?? []),
    ...(spec.linux?.readonlyPaths ?? []),
    '/dev/console',
    CPUINFO,
    CHECKPOINT_FILE,
    SPEC_ENVIRON,
  ].map((path) => join('/', path));
  // What came along with a bind mount, and the hierarchies of a cgroup mount, lie beneath those.
  const within = (point: string): boolean =>
    own.includes(point) || given.some(({ place, type }) => /bind|cgroup/.test(type) && point.startsWith(`${place}/`));
  const foreign = mounts.filter(({ point }) => point !== '/' && !within(point)).map(({ point }) => point);
  if (foreign.length === 0) return;
  const message = `the container has made mounts of its own, which a restored one would not have: ${foreign.join(', ')}; unmount them first`;
  throw new SiltError('CHECKPOINT_FAILED', message, { path: foreign[0]! });
}

/** Where a path lies in a container's root by now, symlinks resolved inside; the path itself when it leads nowhere. */
export function placeInside(kernel: Kernel, pid: number, path: string): string {
  const root = openSync(`/proc/${pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
  const p = new ProgramBuilder();
  const fd = openat2(p, root, path, 'O_PATH', 'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS', { tolerate: 'all' });
  try {
    const opened = kernel.run(p.build()).get(fd);
    if (opened < 0) return path;
    try {
      return readlinkSync(`/proc/self/fd/${opened}`);
    } finally {
      closeSync(opened);
    }
  } finally {
    closeSync(root);
  }
}

/**
 * Writes an archive of each tmpfs of a container whose processes stand still.
 * @param open creates a file of the checkpoint and returns its fd, closed by this
 */
export async function saveTemporaryMounts(
  kernel: Kernel,
  source: {
    readonly pid: number;
    readonly spec: Spec;
    readonly mounts: readonly MountInfo[];
    readonly idMaps: IdMaps | null;
  },
  open: (file: string) => number,
  onWarning: (message: string) => void,
): Promise<SavedFilesystem[]> {
  const saved: SavedFilesystem[] = [];
  for (const destination of temporaryMounts(source.spec)) {
    const place = placeInside(kernel, source.pid, destination);
    const mount = source.mounts.findLast(({ point, type }) => point === place && type === 'tmpfs');
    if (mount === undefined) continue;
    const found = { destination, ...(place === destination ? {} : { place }) };
    const directory = openMount(kernel, source.pid, mount);
    try {
      if (!hasContents(directory, place, source)) {
        saved.push(found);
        continue;
      }
      const file = `tmpfs-${saved.length}.tar`;
      const out = open(file);
      try {
        await pack({
          runner: kernel.runner,
          upperFd: directory,
          outFd: out,
          onWarning: (message, { kind }) =>
            REMADE.includes(kind) ? undefined : onWarning(`${destination}: ${message}`),
          ...(source.idMaps ? { idMaps: source.idMaps } : {}),
        });
      } finally {
        closeSync(out);
      }
      saved.push({ ...found, file });
    } finally {
      closeSync(directory);
    }
  }
  return saved;
}

/** What an archive does not hold and need not: silt mounts again what is mounted, CRIU makes sockets again. */
export const REMADE: readonly ArchiveWarning['kind'][] = ['mount-skipped', 'socket-skipped'];

/** Whether there is something that silt does not make itself: device nodes and links of /dev, places of other mounts. */
function hasContents(directory: number, place: string, source: { spec: Spec; mounts: readonly MountInfo[] }): boolean {
  const made = new Set([
    ...source.mounts.map(({ point }) => point),
    ...['null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'fd', 'stdin', 'stdout', 'stderr'].map(
      (name) => `/dev/${name}`,
    ),
    DIRECTORY,
    ...(source.spec.linux?.devices ?? []).map(({ path }) => path),
  ]);
  return readdirSync(`/proc/self/fd/${directory}`).some((name) => !made.has(join(place, name)));
}

/** Opens the root of a mount in the container's mount namespace, whatever symlinks it has put in the way. */
function openMount(kernel: Kernel, pid: number, mount: MountInfo): number {
  const root = openSync(`/proc/${pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
  const p = new ProgramBuilder();
  p.step(`opening ${mount.point} of the container`);
  const fd = openat2(
    p,
    root,
    `.${mount.point}`,
    'O_RDONLY|O_DIRECTORY',
    'RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS|RESOLVE_NO_SYMLINKS',
  );
  try {
    const opened = kernel.run(p.build()).get(fd);
    if (fstatSync(opened).dev === deviceOf(mount)) return opened;
    closeSync(opened);
    throw new SiltError('CHECKPOINT_FAILED', `${mount.point} of the container is covered by something else`, {
      path: mount.point,
    });
  } finally {
    closeSync(root);
  }
}
