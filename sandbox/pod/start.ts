import { closeSync } from 'node:fs';
import type { Spec } from '../../oci';
import { joinExisting } from '../cgroup';
import { podIdRanges } from './id-ranges';
import { openListed } from './namespace-paths';
import { openNeighbour, type OpenNeighbour } from './neighbour';
import { Pod, podNamespaces } from './pod';
import { joinedPath, type JoinedKind, podPlan } from './plan';
import { siltRoot } from '../state/root';
import { NO_PROCESS, recordProcess } from '../state/state';
import { openOwner, readIdMaps } from './user-namespace';
import type { Workshop } from '../workshop';
import type { Kernel } from '../../syscall';

export interface PodStart {
  readonly id: string;
  /** Of the pod's first container. */
  readonly spec: Spec;
  /** Where the shim that keeps the pod listens; see PodState. */
  readonly socket?: string;
}

/**
 * Starts the pod that a container's spec describes. Its state is on disk before there is anything to be cleaned up, and is
 * removed by {@link endPod}.
 * @throws SiltError; nothing is left then.
 */
export async function startPod(workshop: Workshop, { id, spec: given, socket }: PodStart): Promise<Pod> {
  const { kernel, state, config } = workshop;
  const ranges = podIdRanges(siltRoot(), config);
  let idRange: number | undefined;
  let neighbour: OpenNeighbour | undefined;
  const claimIds = () => {
    const { index, idMaps } = ranges.claim(state.podPath(id));
    idRange = index;
    return idMaps;
  };
  const fds: Partial<Record<JoinedKind, number>> = {};
  const open = (kind: JoinedKind): number => (fds[kind] ??= openListed(kernel, given, kind)!);
  try {
    const spec = inOwnerOfNetwork(kernel, given, fds);
    const userns = joinedPath(spec, 'user');
    const joinedIds = userns === undefined ? null : await readIdMaps(kernel, open('user'));
    neighbour = config.userns === 'auto' ? await openNeighbour(kernel, spec, ranges, state.podPath(id)) : undefined;
    if (neighbour) fds.user = neighbour.userns;
    const plan = podPlan({ id, spec, config, claimIds, joinedIds, neighbour });
    if (neighbour && plan.sandbox.idMaps !== neighbour.idMaps) ranges.release(neighbour.shared, state.podPath(id));
    for (const kind of Object.keys(plan.paths) as JoinedKind[]) open(kind);
    const record = {
      id,
      idMaps: plan.sandbox.idMaps,
      namespaces: podNamespaces(plan.sandbox),
      ...(idRange === undefined ? {} : { idRange }),
      ...(socket === undefined ? {} : { socket, shim: recordProcess(process.pid) }),
    };
    // Before the sandbox is there: whoever cleans up after this process has to know of the range.
    state.addPod({ ...record, sandbox: NO_PROCESS });
    const pod = await Pod.start(kernel, plan.sandbox, fds);
    try {
      if (config.shimCgroup !== undefined) joinExisting(workshop.host.hierarchies, config.shimCgroup, pod.sandbox.pid);
    } catch (error) {
      await pod.close();
      throw error;
    }
    state.addPod({ ...record, sandbox: recordProcess(pod.sandbox.pid) });
    return pod;
  } catch (error) {
    if (idRange !== undefined) ranges.release(idRange, state.podPath(id));
    if (neighbour) ranges.release(neighbour.shared, state.podPath(id));
    state.removePod(id);
    throw error;
  } finally {
    for (const fd of Object.values(fds)) closeSync(fd);
  }
}

/** Ends a pod, unless it has ended, and everything in it; releases what it had of the host, and removes its state. */
export async function endPod({ state, config }: Workshop, id: string, pod: Pod | undefined): Promise<void> {
  await pod?.close();
  // Before its name is free for another one.
  podIdRanges(siltRoot(), config).releaseAll(state.podPath(id));
  state.takeDownPod(id);
}

/**
 * A pod without a container (the Sandbox API) is described by its ids and its network, which containerd has made in a user namespace
 * with these ids: that is the one to be in, or the pod's root would have no power over its network.
 */
function inOwnerOfNetwork(kernel: Kernel, spec: Spec, fds: Partial<Record<JoinedKind, number>>): Spec {
  const network = joinedPath(spec, 'network');
  const namespaces = spec.linux?.namespaces ?? [];
  if (spec.process || network === undefined || !namespaces.some(({ type, path }) => type === 'user' && !path))
    return spec;
  const owner = openOwner(kernel, network);
  if (owner === undefined) return spec;
  fds.user = owner;
  const joined = namespaces.map((one) => (one.type === 'user' ? { ...one, path: `/proc/self/fd/${owner}` } : one));
  return { ...spec, linux: { ...spec.linux, namespaces: joined } };
}
