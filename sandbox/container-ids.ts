import type { IdMaps } from '../gofer';
import { isPrivileged, type Spec } from '../oci';

/**
 * The ids of one container of a pod. A privileged one is root of the host, which is what it is for: in a pod whose first container
 * did not say so (the pause container of Kubernetes) it stays out of the user namespace that silt chose, but not out of one that
 * its spec asks for.
 */
export function containerIdMaps(idMaps: IdMaps | null, spec: Spec): IdMaps | null {
  const asked = spec.linux?.namespaces?.some(({ type }) => type === 'user') ?? false;
  return isPrivileged(spec) && !asked ? null : idMaps;
}
