import type { IdMaps } from '../../gofer';
import { hostNeeds, isPrivileged, powersOverHost, type Spec } from '../../oci';
import type { PodTraits } from './pod';

type PodIds = Pick<PodTraits, 'idMaps' | 'namespaces'>;

/**
 * The ids of one container of a pod. In a pod whose first container did not say so (the pause container of Kubernetes) two kinds stay
 * out of the user namespace that silt chose, but not out of one that their spec asks for: a privileged one, which is what it is
 * for, and one that asks for capabilities which would have no power there, or for ids that it has not.
 */
export function containerIdMaps({ idMaps, namespaces }: PodIds, spec: Spec): IdMaps | null {
  if (idMaps === null || asksForUserNamespace(spec)) return idMaps;
  return isPrivileged(spec) || hostNeeds(spec, isForeign(namespaces)).length > 0 ? null : idMaps;
}

/** What is to be told about a container's capabilities and ids; undefined for nearly all. */
export function idsWarning(pod: PodIds, spec: Spec): string | undefined {
  if (pod.idMaps === null || isPrivileged(spec)) return undefined;
  const foreign = isForeign(pod.namespaces);
  if (asksForUserNamespace(spec)) {
    const powers = powersOverHost(spec, foreign).join(', ');
    return powers === '' ? undefined : `${powers} has no power in the user namespace that the spec asks for`;
  }
  const needs = hostNeeds(spec, foreign).join(' and ');
  return needs === '' ? undefined : `it is not in the pod's user namespace, in which ${needs} (userns = "auto")`;
}

function asksForUserNamespace(spec: Spec): boolean {
  return spec.linux?.namespaces?.some(({ type }) => type === 'user') ?? false;
}

function isForeign({ foreignNetwork = false }: PodIds['namespaces']): boolean {
  return foreignNetwork;
}
