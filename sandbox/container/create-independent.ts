import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import { type Container, createContainer } from '.';
import type { ContainerRequest } from './plan';
import { joinedPod } from '../pod/membership';
import { Pod } from '../pod/pod';
import { lockPod, waitingForHook } from '../state/lock';
import { endPod, startPod } from '../pod/start';
import type { Workshop } from '../workshop';

/** Ids are names of directories and cgroups; the characters are those that runc takes. @throws SiltError REQUEST_INVALID. */
export function checkContainerId(id: string): void {
  if (/^[\w+.-]{1,255}$/.test(id) && id !== '.' && id !== '..') return;
  throw new SiltError(
    'REQUEST_INVALID',
    `invalid container ID format: ${JSON.stringify(id)}; use letters, digits and _+-.`,
    {
      id,
    },
  );
}

/**
 * Creates a container that needs no process of silt to live: alone in a pod of its own, or in the pod that its annotations
 * name. Up to the end of this call the end of this process is the end of all that it made; afterwards the container is
 * found by its state.
 *
 * The returned pod is detached; its `sandbox` tells of the sandbox's end.
 * @throws SiltError; nothing is left then.
 */
export async function createIndependent(
  workshop: Workshop,
  request: Omit<ContainerRequest, 'lifetime'>,
): Promise<{ container: Container; pod: Pod }> {
  const { state } = workshop;
  const { id, spec } = request;
  checkContainerId(id);
  const joined = joinedPod(id, spec);
  const unlock = await lockPod(workshop, joined ?? id, joined === undefined);
  if (!unlock) throw noSuchPod(id, joined!);
  // The container's later hooks are not run under the lock.
  let isLocked = true;
  try {
    const other = state.containerIfAny(id);
    if (other) throw exists(id, state.containerPath(other.pod, id));
    const pod = joined === undefined ? await newPod(workshop, id, spec) : attachPod(workshop, id, joined);
    try {
      const container = await createContainer(workshop, pod, {
        ...request,
        lifetime: 'of-its-own',
        aroundHooks: (wait) => (isLocked ? waitingForHook(state, pod.id, wait) : wait()),
      });
      pod.detach();
      return { container, pod };
    } catch (error) {
      if (joined === undefined) await endPod(workshop, id, pod);
      else pod.detach();
      throw error;
    }
  } finally {
    isLocked = false;
    unlock();
  }
}

function newPod(workshop: Workshop, id: string, spec: Spec): Promise<Pod> {
  const { state } = workshop;
  // The name may be that of a directory that is no pod's: a containerd namespace below the same root.
  if (!state.isUnused(id)) throw exists(id, state.podPath(id));
  return startPod(workshop, { id, spec });
}

function attachPod({ kernel, state }: Workshop, id: string, pod: string): Pod {
  const podState = state.podIfAny(pod);
  if (!podState) throw noSuchPod(id, pod);
  return Pod.attach(kernel, podState);
}

function exists(id: string, path: string): SiltError {
  const message = `container with id ${id} exists already in ${path}; delete it first or choose another id`;
  return new SiltError('CONTAINER_EXISTS', message, { id, path });
}

function noSuchPod(id: string, pod: string): SiltError {
  const message = `container ${id} is to join the pod ${pod} (annotation sandbox-id), and there is no such pod; create its sandbox container first`;
  return new SiltError('CONTAINER_NOT_FOUND', message, { id });
}
