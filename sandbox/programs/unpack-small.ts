import type { IdMaps } from '../../gofer';
import { C, close, type Fd, flags, fork, NULL, openat, prctl, type Program, ProgramBuilder, setIds, waitForChild, write } from '../../syscall'; // prettier-ignore
import type { SmallArchive, SmallEntry } from '../archive';
import type { CgroupEntry } from '../cgroup';
import { inCgroup } from './cgroup-entry';
import { report } from './reports';
import { UNPACK_FDS } from './unpack';
import { makeGate, openGate, passGate, writeIdMaps } from './user-namespace';

export interface SmallUnpackPlan {
  readonly archive: SmallArchive;
  /** The ids that the archive's are. */
  readonly idMaps: IdMaps;
  readonly cgroup: CgroupEntry;
}

/**
 * Makes what a small archive holds, in an upper that has nothing of these names yet: in the container's cgroup, which is charged for
 * it, by the root of a user namespace that has just the archive's ids. Every name is one component below a directory that the program
 * has made itself; nothing is opened through a link.
 */
export function smallUnpackProgram({ archive, idMaps, cgroup }: SmallUnpackPlan): Program {
  const p = new ProgramBuilder();
  p.step('preparing to unpack');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  inCgroup(p, cgroup, () => {
    const gate = makeGate(p);
    p.step('cloning the unpacker');
    const { pid } = fork(p, 'unpacker', { flags: 'CLONE_NEWUSER' }, () => {
      passGate(p, gate);
      p.step('becoming the unpacker');
      setIds(p, 0, 0, []);
      p.step('unpacking');
      const upper = openat(p, p.donated(UNPACK_FDS.upper), '.', 'O_RDONLY|O_DIRECTORY|O_NOFOLLOW');
      for (const child of archive.children) p.scope(() => make(p, upper, child));
      if (archive.root) describe(p, upper, archive.root);
      report(p, 'unpacked');
    });
    writeIdMaps(p, pid, idMaps);
    openGate(p, gate);
    waitForChild(p, pid);
  });
  return p.build();
}

function make(p: ProgramBuilder, parent: Fd, entry: SmallEntry): void {
  const name = p.string(Buffer.from(entry.name, 'latin1'));
  const { contents } = entry;
  switch (entry.kind) {
    case 'directory': {
      p.call('mkdirat', [parent, name, 0o700]);
      const fd = openat(p, parent, name, 'O_RDONLY|O_DIRECTORY|O_NOFOLLOW');
      for (const child of entry.children) p.scope(() => make(p, fd, child));
      describe(p, fd, entry);
      close(p, fd);
      return;
    }
    case 'file': {
      const fd = openat(p, parent, name, 'O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW', { mode: 0o600 });
      if (contents.length > 0) write(p, fd, contents);
      describe(p, fd, entry);
      close(p, fd);
      return;
    }
    case 'symlink':
      p.call('symlinkat', [p.string(contents), parent, name]);
      break;
    case 'whiteout':
      p.call('mknodat', [parent, name, C.S_IFCHR, 0]);
      break;
  }
  const noFollow = flags('AT_SYMLINK_NOFOLLOW');
  p.call('fchownat', [parent, name, entry.uid, entry.gid, noFollow]);
  p.call('utimensat', [parent, name, times(p, entry), noFollow]);
}

/** The owner first: a new one costs a file its set-uid bit (chown(2)). */
function describe(p: ProgramBuilder, fd: Fd, entry: SmallEntry): void {
  p.call('fchown', [fd, entry.uid, entry.gid]);
  p.call('fchmod', [fd, entry.mode]);
  p.call('utimensat', [fd, NULL, times(p, entry), 0]);
}

/** Two `struct timespec`: of the last access and of the last change. */
function times(p: ProgramBuilder, { mtime: { seconds, nanoseconds } }: SmallEntry) {
  const at = p.space(32, `{${seconds}.${nanoseconds}}`);
  for (const offset of [0, 16]) {
    p.setU64(at.plus(offset, 8), BigInt(seconds));
    p.setU64(at.plus(offset + 8, 8), nanoseconds);
  }
  return at;
}
