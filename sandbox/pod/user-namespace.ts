import { closeSync, fstatSync, readFileSync, statSync } from 'node:fs';
import type { IdMaps, IdRange } from '../../gofer';
import { C, close, type Kernel, open, prctl, ProgramBuilder, setns } from '../../syscall';
import { report } from '../programs/reports';
import { awaitReports } from '../process/started';

/**
 * The ids that a user namespace maps, as the host numbers them; null when it is the one of this process. The kernel tells them of
 * processes only (/proc/PID/uid_map, user_namespaces(7)), so one enters it for a moment.
 * @param userns borrowed
 * @throws SiltError SYSCALL_FAILED when the fd is of something else.
 */
export async function readIdMaps(kernel: Kernel, userns: number): Promise<IdMaps | null> {
  const own = statSync('/proc/self/ns/user');
  const joined = fstatSync(userns);
  if (own.ino === joined.ino && own.dev === joined.dev) return null;
  const started = kernel.start(visitProgram(), { userns });
  try {
    let maps: IdMaps | undefined;
    await awaitReports(kernel, started, ['held'], {
      what: 'reading the ids of the pod’s user namespace',
      onReport: () => {
        maps = { uids: readMap(started.pid, 'uid_map'), gids: readMap(started.pid, 'gid_map') };
        kernel.signal(started.pidfd, C.SIGKILL);
        return true;
      },
    });
    return maps!;
  } finally {
    started.reports.close();
  }
}

/** Enters the user namespace and waits there to be killed. */
function visitProgram(): ReturnType<ProgramBuilder['build']> {
  const p = new ProgramBuilder();
  p.step('entering the pod’s user namespace');
  // The pod's root must not reach through /proc/PID of this one to the host (ptrace(2), "Ptrace access mode checking").
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  setns(p, p.donated('userns'), 'CLONE_NEWUSER');
  report(p, 'held');
  p.call('ppoll', [0, 0, 0, 0, 8], { retry: true });
  return p.build();
}

function readMap(pid: number, file: 'uid_map' | 'gid_map'): IdRange[] {
  const lines = readFileSync(`/proc/${pid}/${file}`, 'latin1').trim().split('\n').filter(Boolean);
  return lines.map((line) => {
    const [containerID, hostID, size] = line.trim().split(/ +/).map(Number) as [number, number, number];
    return { containerID, hostID, size };
  });
}

/**
 * The user namespace that the namespace at a path belongs to, as an fd which is the caller's to close; undefined when that is this
 * process's own, or above it, where none can be opened (NS_GET_USERNS, ioctl_nsfs(2)). @throws SiltError SYSCALL_FAILED.
 */
export function openOwner(kernel: Kernel, path: string): number | undefined {
  const p = new ProgramBuilder();
  p.step(`looking for the user namespace that ${path} belongs to`);
  const namespace = open(p, path, 'O_RDONLY');
  const owner = p.slot('owner');
  p.call('ioctl', [namespace, C.NS_GET_USERNS, 0], { out: owner, tolerate: ['EPERM'] });
  close(p, namespace);
  const fd = kernel.run(p.build()).get(owner);
  if (fd < 0) return undefined;
  if (fstatSync(fd).ino !== statSync('/proc/self/ns/user').ino) return fd;
  closeSync(fd);
  return undefined;
}
