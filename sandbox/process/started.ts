import { closeSync } from 'node:fs';
import { SiltError } from '../../errors';
import { REPORTS } from '../programs/reports';
import { C, type Kernel, type Report, type Started } from '../../syscall';

const READABLE = 1;

/** Reports whose sender waits for an answer. */
const QUESTIONS: readonly string[] = [REPORTS.mounted, REPORTS.untraced];

/**
 * Follows the reports of a started program until each of `expected` has come, and returns them by name. Fds of the returned
 * reports are the caller's.
 *
 * When a process of the program fails, or the socket closes before all has come, everything the program started is killed
 * (its process group, and whatever `abort` adds), reaped, and the first failure is thrown. So it is when the starter is killed: others of
 * its processes may hold the socket and wait for what it would have done.
 * @throws SiltError of the failed step; INTERNAL when the processes ended without a word.
 */
export async function awaitReports<Name extends string>(
  kernel: Kernel,
  started: Started,
  expected: readonly Name[],
  options: {
    readonly what: string;
    /** Called with a report that asks for an answer, which is sent when this is done; the program waits for it. */
    readonly onQuestion?: (name: string) => Promise<void>;
    /** Called with each report; true means that its fds were taken, and are the callback's now whatever happens. */
    readonly onReport?: (report: Report) => boolean;
    readonly abort?: () => void;
  },
): Promise<Record<Name, Report>> {
  const got: Partial<Record<string, Report>> = {};
  let release: (() => void) | undefined;
  const killAll = (): void => {
    release ??= kernel.adoptOrphans();
    kernel.signalGroup(started.pid, C.SIGKILL);
    options.abort?.();
  };
  const watch = kernel.watch(started.pidfd, READABLE, () => {
    watch.close();
    // With the last of them the socket closes, which is what is waited for below.
    if (wasKilled(kernel, started.pidfd)) killAll();
  });
  try {
    while (expected.some((name) => got[name] === undefined)) {
      const report = await started.reports.next();
      if (report === undefined) {
        throw new SiltError('INTERNAL', `${options.what}: silt's processes were killed before they were done`);
      }
      got[report.name] = report;
      if (options.onReport?.(report)) got[report.name] = { ...report, fds: [] };
      if (QUESTIONS.includes(report.name) && options.onQuestion) {
        await options.onQuestion(report.name);
        started.reports.send('ok');
      }
    }
    return got as Record<Name, Report>;
  } catch (error) {
    killAll();
    for (const report of Object.values(got)) report?.fds.forEach((fd) => closeSync(fd));
    await drain(started, options);
    started.reports.close();
    throw error;
  } finally {
    watch.close();
    // The starter and its short-lived helpers; those that still run have been killed or are on their last call.
    kernel.reapGroup(started.pid, true);
    release?.();
    closeSync(started.pidfd);
  }
}

/** Whether a starter has ended by a signal. One that is not to be found has been reaped by who killed its group (Kernel.endGroup). */
function wasKilled(kernel: Kernel, pidfd: number): boolean {
  try {
    return kernel.peek(pidfd)?.signaled ?? false;
  } catch {
    return false;
  }
}

/** Takes what still comes until every process of the program is gone: the pidfd of a child to be reaped may be among it. */
async function drain(
  started: Started,
  options: { onReport?: (report: Report) => boolean; abort?: () => void },
): Promise<void> {
  for (;;) {
    try {
      const report = await started.reports.next();
      if (report === undefined) return;
      if (!options.onReport?.(report)) report.fds.forEach((fd) => closeSync(fd));
      options.abort?.();
    } catch {
      // A second failure follows from the first.
    }
  }
}
