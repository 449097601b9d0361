import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { C, type Kernel, prctl, type Program, ProgramBuilder, read } from '../../syscall';

/** A process of silt's that stands for a container's while there is none yet. */
export interface Placeholder {
  readonly pid: number;
  /** Ends it. May be called again. */
  release(): Promise<void>;
}

/** Starts a process that waits for the end of a pipe: so a silt that dies leaves none. @throws SiltError; nothing is left then. */
export async function startPlaceholder(kernel: Kernel): Promise<Placeholder> {
  const [controlRead, controlWrite] = kernel.pipe();
  const started = kernel.start(placeholderProgram(), { control: controlRead });
  closeSync(controlRead);
  let ended: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    closeSync(controlWrite);
    await kernel.ended(started);
  };
  const release = (): Promise<void> => (ended ??= end());
  if (await started.reports.next()) return { pid: started.pid, release };
  await release();
  throw new SiltError('INTERNAL', 'the process that holds the container’s unit was killed');
}

function placeholderProgram(): Program {
  const p = new ProgramBuilder();
  p.step('holding the container’s unit');
  p.call('setpgid', [0, 0]);
  prctl(p, 'PR_SET_NAME', p.string('silt-unit'));
  p.call('sendto', [p.report, p.bytes(Buffer.from('held')), 4, C.MSG_NOSIGNAL, 0, 0]);
  read(p, p.donated('control'), 1);
  return p.build();
}
