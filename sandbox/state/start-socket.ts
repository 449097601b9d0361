import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { type FailureNames, type Kernel, namedFailures, ReportChannel } from '../../syscall';
import { connectIn, listenIn } from './state-socket';

/**
 * The socket in a container's state directory at which its parked process waits to be started, when the one who creates
 * the container is not the one who starts it. The name is there until the container has been started.
 */
const NAME = 'start';

/** Whether a container's process, if it lives, still waits for its start. */
export function isParked(directory: string): boolean {
  return existsSync(join(directory, NAME));
}

/** Makes the socket. Returns its fd, the caller's to close. @throws SiltError. */
export function listenForStart(kernel: Kernel, directory: string): number {
  return listenIn(kernel, directory, NAME);
}

/**
 * Lets the process at the socket go and waits until its exec has succeeded: the connection closes then.
 * @throws SiltError of the step that failed; WRONG_STATE when nobody waits there.
 */
export async function startThroughSocket(kernel: Kernel, directory: string, failures: FailureNames): Promise<void> {
  const fd = connectIn(kernel, directory, NAME, 'its process no longer waits to be started');
  const reports = new ReportChannel(kernel, namedFailures(failures), fd);
  try {
    const report = await reports.next();
    if (report) throw new SiltError('INTERNAL', `unexpected report ${report.name}`);
  } finally {
    reports.close();
    rmSync(join(directory, NAME), { force: true });
  }
}
