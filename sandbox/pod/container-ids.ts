import { SiltError } from '../../errors';
import { type IdMaps, toHost } from '../../gofer';
import { hostNeeds, isPrivileged, powersOverHost, type Process, type Spec } from '../../oci';
import type { PodTraits } from './pod';

type PodIds = Pick<PodTraits, 'idMaps' | 'namespaces'>;

/**
 * The ids of one container of a pod. In a pod whose first container did not say so (the pause container of Kubernetes) two kinds stay
 * out of the user namespace that silt chose, but not out of one that their spec asks for: a privileged one, which is what it is
 * for, and one that asks for capabilities which would have no power there, or for mounts with ids that it has not.
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

/**
 * Refuses a process whose user or group its user namespace does not have. It is not started with the host's ids instead: the numbers may be
 * the image's.
 * @param idMaps of its container; null for the host's ids, of which there are all
 * @throws SiltError SPEC_UNSUPPORTED when silt has chosen the user namespace, SPEC_INVALID when the spec has.
 */
export function refuseForeignUser(idMaps: IdMaps | null, spec: Spec, { user }: Pick<Process, 'user'>): void {
  if (idMaps === null || user === undefined) return;
  const { uid, gid, additionalGids = [] } = user;
  const [foreign] = [
    ...(toHost(idMaps.uids, uid) === undefined ? [['uid', uid]] : []),
    ...[gid, ...additionalGids].filter((one) => toHost(idMaps.gids, one) === undefined).map((one) => ['gid', one]),
  ];
  if (foreign === undefined) return;
  const jsonPath = '$.process.user';
  const what = `${jsonPath}: there is no ${foreign.join(' ')} in the container's user namespace`;
  if (asksForUserNamespace(spec)) throw new SiltError('SPEC_INVALID', `${what}; map it`, { jsonPath });
  const message = `${what}, which silt has chosen (userns = "auto"); a user namespace of the spec that maps it (hostUsers: false of Kubernetes has a range of its own) or userns = "none" permits it`;
  throw new SiltError('SPEC_UNSUPPORTED', message, { jsonPath });
}

function asksForUserNamespace(spec: Spec): boolean {
  return spec.linux?.namespaces?.some(({ type }) => type === 'user') ?? false;
}

function isForeign({ foreignNetwork = false }: PodIds['namespaces']): boolean {
  return foreignNetwork;
}
