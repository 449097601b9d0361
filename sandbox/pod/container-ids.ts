import type { IdMaps } from '../../gofer';
import { hostPowers, isPrivileged, type Spec } from '../../oci';
import type { PodTraits } from './pod';

type PodIds = Pick<PodTraits, 'idMaps' | 'namespaces'>;

/**
 * The ids of one container of a pod. In a pod whose first container did not say so (the pause container of Kubernetes) two kinds stay
 * out of the user namespace that silt chose, but not out of one that their spec asks for: a privileged one, which is what it is
 * for, and one that asks for capabilities which would have no power there.
 */
export function containerIdMaps({ idMaps, namespaces }: PodIds, spec: Spec): IdMaps | null {
  if (idMaps === null || asksForUserNamespace(spec)) return idMaps;
  return isPrivileged(spec) || hostPowers(spec, isForeign(namespaces)).length > 0 ? null : idMaps;
}

/** What is to be told about a container's capabilities and ids; undefined for nearly all. */
export function idsWarning(pod: PodIds, spec: Spec): string | undefined {
  if (pod.idMaps === null || isPrivileged(spec)) return undefined;
  const powers = hostPowers(spec, isForeign(pod.namespaces)).join(', ');
  if (powers === '') return undefined;
  return asksForUserNamespace(spec)
    ? `${powers} has no power in the user namespace that the spec asks for`
    : `it is not in the pod's user namespace, in which ${powers} would have no power (userns = "auto")`;
}

function asksForUserNamespace(spec: Spec): boolean {
  return spec.linux?.namespaces?.some(({ type }) => type === 'user') ?? false;
}

function isForeign({ foreignNetwork = false }: PodIds['namespaces']): boolean {
  return foreignNetwork;
}
