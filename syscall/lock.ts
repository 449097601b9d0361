/** flock(2). Such a lock is the open file's: it goes when the last fd of that is closed, however its holder ends. */
import { ProgramBuilder } from './builder';
import { prctl } from './calls';
import { C } from './constants';
import { type Kernel } from './kernel';

/** Takes it for this open file alone, without waiting. @returns false when another open file has it. */
export function tryLock(kernel: Kernel, fd: number): boolean {
  const p = new ProgramBuilder();
  const result = p.slot('result');
  const how = C.LOCK_EX | C.LOCK_NB;
  p.step('locking').call('flock', [fd, how], { out: result, retry: true, tolerate: ['EAGAIN'] });
  return kernel.run(p.build()).get(result) === 0;
}

/**
 * {@link tryLock}, and when another has it: waits, in a process of its own, because Node must not stand still. Whoever may be waiting for
 * something of this very process tries again and again instead.
 */
export async function lock(kernel: Kernel, fd: number): Promise<void> {
  if (tryLock(kernel, fd)) return;
  const p = new ProgramBuilder();
  p.step('waiting for a lock');
  p.call('setpgid', [0, 0]);
  prctl(p, 'PR_SET_PDEATHSIG', C.SIGKILL);
  p.call('flock', [p.donated('file'), C.LOCK_EX], { retry: true });
  await kernel.ended(kernel.start(p.build(), { file: fd }));
}
