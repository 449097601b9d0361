/** The root filesystem of a restored container, built in the middle of CRIU's work. */
import { SiltError } from '../../errors';
import { COVER, UPPER, USERNS } from '../../gofer';
import type { Kernel, Started } from '../../syscall';
import type { Pod } from '../pod/pod';
import { Process, pidOf } from '../process/process';
import { CRIU_FDS, restoreRootProgram, uncoverProgram } from '../programs/criu';
import { LAUNCH_FDS } from '../programs/launch';
import { awaitReports } from '../process/started';
import type { RestoreRequest } from './restore-request';
import type { Prepared } from './restored-mounts';

/** The gofer's part, in the middle of CRIU's work: the first process is there and waits for its root. */
export async function buildRestoredRoot(
  kernel: Kernel,
  pod: Pod,
  request: RestoreRequest,
  { root, fds }: Prepared,
  criu: { readonly pid: number; readonly handover: number; readonly started: Started },
  onInit: (init: Process) => void,
): Promise<void> {
  const donations: Record<string, number> = {
    ...request.mountFds,
    ...fds,
    [LAUNCH_FDS.sandbox]: pod.sandbox.fd,
    [UPPER]: request.upper,
    [CRIU_FDS.handover]: criu.handover,
  };
  if (pod.userns !== undefined) donations[USERNS] = pod.userns;
  if (request.cover !== undefined) donations[COVER] = request.cover;
  let init: Process | undefined;
  const started = kernel.start(restoreRootProgram({ ...request.plan, root }, criu.pid), donations);
  await awaitReports(kernel, started, ['process', 'built'], {
    what: 'building the root filesystem',
    onReport: ({ name, fds: received }) => {
      if (name !== 'process') return false;
      init = new Process(kernel, pidOf(received[0]!), received[0]!, request.lifetime);
      onInit(init);
      return true;
    },
    onQuestion: () => request.onQuestion(init!),
  });
  started.reports.close();
  const held = await criu.started.reports.next();
  if (held?.name !== 'held') throw new SiltError('INTERNAL', 'the holder of the mount namespace is gone');
}

/** Takes away what covered /proc while CRIU worked, see restoreRootProgram. */
export async function uncoverRestoredRoot(kernel: Kernel, init: Process): Promise<void> {
  await kernel.ended(kernel.start(uncoverProgram(), { [CRIU_FDS.init]: init.fd }));
}
