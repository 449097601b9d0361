import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DeleteResponse, timestampOf } from '../proto';
import { cgroups, isSameProcess, NO_PROCESS, podIdRanges, readConfig, StateDirectory } from '../sandbox';
import type { ShimArguments } from './arguments';
import { siltRoot } from '../sandbox/root';
import { socketPath } from './socket-address';

const SIGKILLED = 137;

/**
 * `delete`: containerd found the shim dead and wants everything of one container gone. The sandbox has ended with the shim,
 * or is ended here, and with it every process and mount of the pod; what is left are cgroups and files.
 * Prints containerd's DeleteResponse.
 */
export async function cleanUp(args: ShimArguments): Promise<void> {
  const state = new StateDirectory(join(siltRoot(), args.namespace));
  const pid = await removeContainer(state, args);
  const answer = DeleteResponse.encode({ pid, exitStatus: SIGKILLED, exitedAt: timestampOf(new Date()) });
  process.stdout.write(answer);
}

/** Returns the pid that the container's first process had, 0 when that is not known any more. */
async function removeContainer(state: StateDirectory, args: ShimArguments): Promise<number> {
  const container = state.containerIfAny(args.id);
  const pod = container?.pod ?? args.id;
  const podState = state.podIfAny(pod);
  if (podState && isSameProcess(podState.sandbox)) process.kill(podState.sandbox.pid, 'SIGKILL');
  if (container) {
    // Until the first process was recorded nothing of the container stays in the cgroup, and who is in it may be another's.
    if (container.init.pid !== NO_PROCESS.pid) await cgroups.killAll(container.cgroup);
    await cgroups.removeCgroup(container.cgroup);
    state.removeContainer(pod, args.id);
  }
  if (state.containersOf(pod).length === 0) {
    if (podState?.idRange !== undefined) podIdRanges(siltRoot(), readConfig()).release(podState.idRange);
    state.removePod(pod);
    rmSync(socketPath(siltRoot(), args.address, args.namespace, pod), { force: true });
  }
  return container?.init.pid ?? 0;
}
