import { closeSync } from 'node:fs';
import { findDirectory, type Cgroup } from './cgroup';
import { parseFlatKeyed } from './parsing';
import { openText, readTextIfPresent, writeControl } from './virtual-file';
import { SiltError } from '../../errors';

/**
 * How to hear of an out-of-memory kill. Either way the event says "look": compare {@link oomKills} with what it was.
 * `eventfd` (v1): see {@link registerOomEvent}. `inotify` (v2): IN_MODIFY on the file, from inotify(7) or fs.watch.
 */
export type OomSource =
  | { readonly kind: 'eventfd'; readonly eventFile: string; readonly controlFile: string }
  | { readonly kind: 'inotify'; readonly file: string };

/** undefined when the host has no memory controller. */
export function findOomSource(cgroup: Cgroup): OomSource | undefined {
  const directory = findDirectory(cgroup, 'memory');
  if (directory === undefined) return undefined;
  if (directory.version === 2) return { kind: 'inotify', file: `${directory.path}/memory.events` };
  return {
    kind: 'eventfd',
    eventFile: `${directory.path}/memory.oom_control`,
    controlFile: `${directory.path}/cgroup.event_control`,
  };
}

/**
 * v1: has the kernel add 1 to an eventfd(2) of the caller whenever the cgroup runs out of memory, and once when it is
 * removed (cgroup-v1/memory.rst, "OOM Control"). The fd is borrowed: the kernel holds its own reference to the eventfd,
 * the registration ends when the caller closes it. Must happen in the process that owns the fd, before the container
 * starts.
 * Raises HOST_UNSUPPORTED on v2 or without a memory controller, SYSCALL_FAILED.
 */
export function registerOomEvent(cgroup: Cgroup, eventFd: number): void {
  const source = findOomSource(cgroup);
  if (source?.kind !== 'eventfd') {
    throw new SiltError(
      'HOST_UNSUPPORTED',
      'OOM events by eventfd need the cgroup v1 memory controller; v2 has memory.events',
    );
  }
  const fd = openText(source.eventFile);
  try {
    writeControl(source.controlFile, `${eventFd} ${fd} `);
  } finally {
    closeSync(fd);
  }
}

/**
 * How many processes of this cgroup the OOM killer has killed so far; 0 without a memory controller or once the cgroup
 * is gone.
 * v1 (4.13) counts those in the cgroup itself, v2 those beneath it too.
 */
export function oomKills(cgroup: Cgroup): bigint {
  const directory = findDirectory(cgroup, 'memory');
  if (directory === undefined) return 0n;
  const file = directory.version === 1 ? 'memory.oom_control' : 'memory.events';
  return parseFlatKeyed(readTextIfPresent(`${directory.path}/${file}`) ?? '').get('oom_kill') ?? 0n;
}
