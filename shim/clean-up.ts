import { join } from 'node:path';
import { loadNative, openInterpreter } from '../native';
import type { Spec } from '../oci';
import { DeleteResponse, timestampOf } from '../proto';
import { cgroups, Hooks, StateDirectory } from '../sandbox';
import { Kernel } from '../syscall';
import type { ShimArguments } from './arguments';
import { removeLeftContainer, removeLeftPod } from './leftovers';
import { siltRoot } from '../sandbox/state/root';
import { socketPath } from './socket-address';
import { answers, removeDeadSockets } from './sockets';

type ContainerState = NonNullable<ReturnType<StateDirectory['containerIfAny']>>;

const SIGKILLED = 137;

/**
 * `delete`: containerd found the shim dead and wants everything of one container gone. The sandbox has ended with the shim,
 * or is ended here, and with it every process and mount of the pod; what is left are cgroups and files.
 * Prints containerd's DeleteResponse.
 */
export async function cleanUp(args: ShimArguments): Promise<void> {
  const state = new StateDirectory(join(siltRoot(), args.namespace));
  const container = state.containerIfAny(args.id);
  const pod = container?.pod ?? args.id;
  const socket = socketPath(siltRoot(), args.address, args.namespace, pod);
  let pid: number;
  if (container && pod !== args.id && (await answers(socket))) {
    // One container of a pod that lives on: its processes end, and the pod's shim sees to the rest.
    await cgroups.killAll(container.cgroup);
    pid = container.init.pid;
  } else {
    const spec = container && specOf(state, container);
    pid = await removeLeftContainer(siltRoot(), state, pod, container);
    if (container && spec?.hooks?.poststop?.length) await runPoststop(container, spec);
    // Of a shim of version 3, containerd cleans up the pod alone: its containers went through the connection that has ended.
    if (pod === args.id && !(await answers(socket))) await removeLeftPod(siltRoot(), state, pod);
    // The pod's, unless somebody serves the pod, and that of the process, in which nobody else may be left to see to it.
    await removeDeadSockets(openKernel(), join(siltRoot(), 's'), true);
  }
  const answer = DeleteResponse.encode({ pid, exitStatus: SIGKILLED, exitedAt: timestampOf(new Date()) });
  process.stdout.write(answer);
}

function openKernel(): Kernel {
  const native = loadNative();
  return new Kernel(native, openInterpreter(undefined, native));
}

/** The spec that a container was created with; undefined when it was not written before the shim died. */
function specOf(state: StateDirectory, container: ContainerState): Spec | undefined {
  try {
    return state.readSpec(container);
  } catch {
    return undefined;
  }
}

async function runPoststop({ id, bundle }: ContainerState, spec: Spec): Promise<void> {
  await new Hooks(openKernel(), { id, bundle, spec }).deleted((message) => process.stderr.write(`${message}\n`));
}
