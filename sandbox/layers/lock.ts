import { C, type Kernel, prctl, ProgramBuilder } from '../../syscall';

/** flock(2), exclusive, without waiting. The lock is the open file's: it goes when the last fd of it is closed. */
export function tryLock(kernel: Kernel, fd: number): boolean {
  const p = new ProgramBuilder();
  const result = p.slot('result');
  p.step('locking').call('flock', [fd, C.LOCK_EX | C.LOCK_NB], { out: result, tolerate: ['EAGAIN'] });
  return kernel.run(p.build()).get(result) === 0;
}

/** {@link tryLock}, and when another has it: waits, in a process of its own, because Node must not stand still. */
export async function lock(kernel: Kernel, fd: number): Promise<void> {
  if (tryLock(kernel, fd)) return;
  const p = new ProgramBuilder();
  p.step('waiting for a lock');
  p.call('setpgid', [0, 0]);
  prctl(p, 'PR_SET_PDEATHSIG', C.SIGKILL);
  p.call('flock', [p.donated('file'), C.LOCK_EX], { retry: true });
  await kernel.ended(kernel.start(p.build(), { file: fd }));
}
