/** The process that answers for CPUID in a container: native/cpuid.c. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { nativeDirectory } from '../../native';
import { C, errnoName, type Kernel } from '../../syscall';
import type { Host } from '../host';
import { type Lifetime, reapLater } from '../process/process';
import { TRACE_FDS, traceProgram } from '../programs/trace';
import { encodeTable, type TracedTasks } from './table';
import type { CpuView } from './view';

export interface TracerRequest extends Omit<TracedTasks, 'control'> {
  readonly view: CpuView;
  /** A listening socket on which the tracer can be asked to let go. Borrowed. */
  readonly control?: number | undefined;
  /** Of the traced processes, whose end is the tracer's. */
  readonly lifetime: Lifetime;
}

/**
 * Starts tracing threads: from here on every program that they or their children execute is shown the CPU of the view. A tracer that
 * is killed takes them along; it ends with the last of them.
 * @throws SiltError SYSCALL_FAILED when they cannot be traced; they run on untraced then, and are the caller's to kill.
 */
export async function traceCpuid(
  kernel: Kernel,
  { lastCapability }: Pick<Host, 'lastCapability'>,
  request: TracerRequest,
): Promise<void> {
  const { view, tids, armNow, control, lifetime } = request;
  const table = kernel.memfd('silt-cpuid', encodeTable(view, { tids, armNow, control: control !== undefined }));
  let tracer: number | undefined;
  try {
    tracer = openSync(join(nativeDirectory(), 'silt-cpuid'), 'r');
    const started = kernel.start(traceProgram(lastCapability, control !== undefined), {
      [TRACE_FDS.tracer]: tracer,
      [TRACE_FDS.table]: table,
      ...(control === undefined ? {} : { [TRACE_FDS.control]: control }),
    });
    try {
      const report = await started.reports.next();
      if (report?.name !== 'ready') throw cannotTrace(report?.text);
    } catch (error) {
      kernel.signal(started.pidfd, C.SIGKILL);
      kernel.reapGroup(started.pid, true);
      closeSync(started.pidfd);
      throw error;
    } finally {
      started.reports.close();
    }
    if (lifetime === 'of-its-own') closeSync(started.pidfd);
    else reapLater(kernel, started.pidfd);
  } finally {
    closeSync(table);
    if (tracer !== undefined) closeSync(tracer);
  }
}

function cannotTrace(errno: string | undefined): SiltError {
  if (errno === undefined) return new SiltError('INTERNAL', 'silt-cpuid was killed before it was ready');
  const name = errnoName(Number(errno));
  const message = `cannot trace the container's process to answer for CPUID: ${name}`;
  return new SiltError('SYSCALL_FAILED', message, { syscall: 'ptrace', errno: name });
}
