import { close, fork, type ForkOptions, open, type ProgramBuilder, type Slot, write } from '../../syscall';
import type { CgroupEntry } from '../cgroup';

const STEP = 'joining the container’s cgroup';

/** Of a process that stays in its starter's cgroup. */
export const NO_CGROUP: CgroupEntry = { into: undefined, files: [] };

/** {@link fork}, into a cgroup. */
export function forkInto(
  p: ProgramBuilder,
  name: string,
  options: ForkOptions,
  { into, files }: CgroupEntry,
  body: () => void,
): ReturnType<typeof fork> {
  p.step(STEP);
  const cgroup = into === undefined ? undefined : open(p, into, 'O_PATH|O_DIRECTORY');
  const child = fork(p, name, { ...options, ...(cgroup && { cgroup }) }, () => {
    if (cgroup) close(p, cgroup);
    joinAll(p, files);
    body();
  });
  if (cgroup) close(p, cgroup);
  return child;
}

/** Adds `body` as what runs in a cgroup: in a child of the caller's parent that is cloned into it, or right here where there is nothing to clone into. */
export function inCgroup(p: ProgramBuilder, entry: CgroupEntry, body: () => void): void {
  if (entry.into !== undefined) {
    forkInto(p, 'helper', { flags: 'CLONE_PARENT' }, entry, body);
    return;
  }
  p.step(STEP);
  joinAll(p, entry.files);
  body();
}

/**
 * The same for a child that is cloned in other namespaces: the files are opened here, by host root, and the kernel asks for the rights of
 * who did (cgroup_procs_write_start in kernel/cgroup/cgroup.c, Linux 5.16). Who joins like this is not held back by `pids.max`, which only
 * counts at clone.
 * @returns what adds the joining itself, in the child
 */
export function openCgroup(p: ProgramBuilder, { into, files }: CgroupEntry): () => void {
  p.step(STEP);
  const all = [...(into === undefined ? [] : [`${into}/cgroup.procs`]), ...files];
  const opened = all.map((file) => open(p, file, 'O_WRONLY'));
  return () => {
    p.step(STEP);
    opened.forEach((fd) => joinBy(p, fd));
  };
}

function joinAll(p: ProgramBuilder, files: readonly string[]): void {
  for (const file of files) p.scope(() => joinBy(p, open(p, file, 'O_WRONLY')));
}

/** "0" stands for the writer (cgroups(7)). */
function joinBy(p: ProgramBuilder, file: Slot): void {
  write(p, file, '0');
  close(p, file);
}
