import { open, type ProgramBuilder, setns, unshare, write } from '../../syscall';
import type { NamespaceSource } from './sandbox';

/** Namespaces that a container has for itself, whatever its pod has. */
export interface OwnNamespaces {
  /**
   * A joined one becomes the container's: the root filesystem is built and entered in it, as runc does it. In the host's the root
   * filesystem is attached nowhere: the container has it by chroot(2), and the host's mounts stay as they are.
   */
  readonly mount: NamespaceSource;
  readonly cgroup: NamespaceSource;
  readonly time: NamespaceSource;
  /** Lines for /proc/PID/timens_offsets: `CLOCK SECONDS NANOSECONDS` (time_namespaces(7)). Only of a new time namespace. */
  readonly timeOffsets: readonly string[];
}

/** Names of the fds of namespaces that a container joins by their paths. */
export const JOINED_FDS = { pid: 'pidns', mount: 'mntns', cgroup: 'cgroupns', time: 'timens' } as const;

/**
 * Enters the cgroup and time namespaces of a container, or prepares them for the child that is cloned next. The joined ones come before
 * the pod's, whose root has no rights over them; a new time namespace comes behind them, to belong to the pod's user namespace.
 * A new cgroup namespace is a flag of the clone.
 * @param enterPod enters the namespaces that the pod holds
 */
export function enterOwnNamespaces(p: ProgramBuilder, own: OwnNamespaces, enterPod: () => void): void {
  for (const [kind, flag] of [
    ['cgroup', 'CLONE_NEWCGROUP'],
    ['time', 'CLONE_NEWTIME'],
  ] as const) {
    if (own[kind] !== 'joined') continue;
    p.step(`joining the container’s ${kind} namespace`);
    setns(p, p.donated(JOINED_FDS[kind]), flag);
  }
  if (own.time !== 'new') {
    enterPod();
    return;
  }
  p.step('opening the offsets of the time namespace');
  // By host root: the kernel asks for the rights of whoever opened it (timens_offsets_write in fs/proc/base.c).
  const offsets = own.timeOffsets.length > 0 ? open(p, '/proc/self/timens_offsets', 'O_WRONLY') : undefined;
  enterPod();
  p.step('making the time namespace');
  unshare(p, 'CLONE_NEWTIME');
  if (offsets === undefined) return;
  // Before the first process is in it (time_namespaces(7)): this one is not, its child will be.
  p.step(`setting the offsets of the time namespace: ${own.timeOffsets.join(', ')}`);
  write(p, offsets, own.timeOffsets.map((line) => `${line}\n`).join(''));
}
