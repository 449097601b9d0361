/** The tmpfs that a CRIU has as its /run: its log, and what it has found out of the kernel. */
import {
  chmodSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { C, close, fsconfigCreate, fsconfigString, fsmount, fsopen, type Kernel, ProgramBuilder } from '../../syscall';
import { siltRoot } from '../state/root';

/** Name of the file with CRIU's standard error. */
export const LOG = 'log';
const FINDINGS = 'criu.kdat';

/** In a user namespace CRIU finds less (no userfaultfd, say): that is kept apart from what it finds as host root. */
function findingsPath(uid: number): string {
  return join(siltRoot(), 'cache', uid === 0 ? FINDINGS : `user-namespace-${FINDINGS}`);
}

/** Whether a CRIU of host root has found out already what the kernel can. */
export function hasFindings(): boolean {
  return existsSync(findingsPath(0));
}

/** A detached tmpfs for CRIU's /run, with what an earlier one found out of the kernel. The fd is the caller's to close. */
export function makeCriuRun(kernel: Kernel, owner = { uid: 0, gid: 0 }): number {
  const p = new ProgramBuilder();
  p.step('making a place for CRIU');
  const context = fsopen(p, 'tmpfs');
  for (const [key, value] of [
    ['mode', '755'],
    ['uid', `${owner.uid}`],
    ['gid', `${owner.gid}`],
    ['size', '64m'],
  ] as const)
    fsconfigString(p, context, key, value);
  fsconfigCreate(p, context);
  const run = fsmount(p, context, C.MOUNT_ATTR_NODEV | C.MOUNT_ATTR_NOSUID, 'run');
  close(p, context);
  const fd = kernel.run(p.build()).get(run);
  const kept = [findingsPath(0), findingsPath(owner.uid)].find((path) => existsSync(path));
  if (kept !== undefined) {
    const path = `/proc/self/fd/${fd}/${FINDINGS}`;
    writeFileSync(path, readFileSync(kept));
    chmodSync(path, 0o644);
  }
  return fd;
}

/** The log that CRIU writes its standard error to; the fd is the caller's to close. */
export function openCriuLog(run: number): number {
  return openSync(`/proc/self/fd/${run}/${LOG}`, 'a', 0o644);
}

/** What CRIU has found out of the kernel takes it 50 ms each time: it is kept for the next one. */
export function keepFindings(run: number): void {
  const found = `/proc/self/fd/${run}/${FINDINGS}`;
  const { uid } = fstatSync(run);
  if (uid !== 0 && hasFindings()) return;
  const kept = findingsPath(uid);
  try {
    if (existsSync(kept) && readFileSync(kept).equals(readFileSync(found))) return;
    mkdirSync(dirname(kept), { recursive: true, mode: 0o700 });
    writeFileSync(`${kept}.${process.pid}`, readFileSync(found), { mode: 0o600 });
    renameSync(`${kept}.${process.pid}`, kept);
  } catch {
    // Not there, or no room for it: the next one finds out by itself.
  }
}
