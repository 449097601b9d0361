import { chownSync, readFileSync } from 'node:fs';
import type { Cgroup } from './cgroup';
import { errnoOf, isGone } from './virtual-file';

/** The files of a v2 cgroup that belong to whom it is delegated to; the kernel lists them (5.2: cgroup-v2.rst, "Delegation"). */
const DELEGATED = '/sys/kernel/cgroup/delegate';
const DELEGATED_BEFORE = ['cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads'];

/**
 * Gives a container's cgroup to the root of its user namespace, so that it can make cgroups beneath (systemd, dockerd in a container).
 * The limits stay host root's: their files lie in the parent's gift.
 * @throws SiltError SYSCALL_FAILED.
 */
export function delegateCgroup(cgroup: Cgroup, { uid, gid }: { readonly uid: number; readonly gid: number }): void {
  for (const { path, version } of cgroup.directories) {
    const files = version === 2 ? delegatedFiles() : ['tasks', 'cgroup.procs'];
    for (const target of [path, ...files.map((file) => `${path}/${file}`)]) {
      try {
        chownSync(target, uid, gid);
      } catch (error) {
        if (!isGone(errnoOf(error))) throw error;
      }
    }
  }
}

function delegatedFiles(): readonly string[] {
  try {
    return readFileSync(DELEGATED, 'latin1').split('\n').filter(Boolean);
  } catch (error) {
    if (isGone(errnoOf(error))) return DELEGATED_BEFORE;
    throw error;
  }
}
