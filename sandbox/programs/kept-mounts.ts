/**
 * Mounts that live as long as the pod: in the mount namespace of its sandbox, at directories that only host root finds
 * (`/proc/SANDBOX/root`), and gone with it, whoever ends it.
 */
import { type FilesystemStep, makeFilesystem, type Owner } from '../../gofer';
import { attachAt, C, cloneTree, type Fd, mkdirat, prctl, type Program, ProgramBuilder, setns } from '../../syscall';
import { report } from './reports';

/** The fd of the sandbox, by which its mount namespace is joined. */
export const KEEPER = 'sandbox';
/** A place that is no container's: their ids begin with a letter or a digit. */
const SHARED = '.shared-memory';

/** The upper of a container goes there. From here on this process is in the sandbox's mount namespace, and the pod's root to its files. */
export function keepUpper(p: ProgramBuilder, container: { id: string; podRoot: Owner }, upper: Fd): void {
  p.step('keeping the upper in the sandbox');
  keepMount(p, container.id, container.podRoot, upper);
}

function keepMount(p: ProgramBuilder, name: string, podRoot: Owner, mount: Fd): void {
  setns(p, p.donated(KEEPER), 'CLONE_NEWNS');
  // The sandbox's tmpfs belongs to the pod's user namespace and takes no file of an owner that has no id there.
  p.call('setfsgid', [podRoot.gid]);
  p.call('setfsuid', [podRoot.uid]);
  mkdirat(p, C.AT_FDCWD, `/${name}`, 0o700);
  attachAt(p, mount, C.AT_FDCWD, `/${name}`);
}

/** The program that takes a container's upper out of the sandbox again. */
export function dropUpperProgram(id: string): Program {
  const p = new ProgramBuilder();
  p.step(`taking the upper of ${id} out of the sandbox`);
  p.call('setpgid', [0, 0]);
  setns(p, p.donated(KEEPER), 'CLONE_NEWNS');
  p.call('umount2', [p.string(`/${id}`), C.MNT_DETACH]);
  p.call('unlinkat', [C.AT_FDCWD, p.string(`/${id}`), C.AT_REMOVEDIR]);
  return p.build();
}

/** The program that makes the pod's shared memory, and reports it: `memory`, a mount attached nowhere. */
export function makeSharedMemoryProgram(step: FilesystemStep, podRoot: Owner): Program {
  const p = new ProgramBuilder();
  p.step('making the pod’s shared memory');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  keepMount(p, SHARED, podRoot, makeFilesystem(p, step));
  reportSharedMemory(p);
  return p.build();
}

/** The program that reports it once more. */
export function openSharedMemoryProgram(): Program {
  const p = new ProgramBuilder();
  p.step('opening the pod’s shared memory');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  setns(p, p.donated(KEEPER), 'CLONE_NEWNS');
  reportSharedMemory(p);
  return p.build();
}

function reportSharedMemory(p: ProgramBuilder): void {
  report(p, 'memory', [cloneTree(p, C.AT_FDCWD, `/${SHARED}`)]);
}
