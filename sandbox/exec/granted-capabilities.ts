import { capabilityList, type CapabilityMasks, capabilityName } from '../../oci';

/**
 * What of the wanted capabilities a process without a user namespace of its own can have: no more than silt itself has. What
 * cannot be granted is told and left out (OCI runtime spec 1.2, config, "capabilities": runtimes should not fail for it), so that
 * `docker run --privileged` works where silt runs in a container itself.
 * @param own mask of silt's own capabilities
 * @param warn is told of those that are left out
 */
export function grantedCapabilities(
  wanted: CapabilityMasks,
  own: bigint,
  warn: (message: string) => void,
): CapabilityMasks {
  const missing = (wanted.bounding | wanted.permitted | wanted.inheritable) & ~own;
  if (missing === 0n) return wanted;
  const names = capabilityList(missing).map(capabilityName).join(', ');
  warn(`$.process.capabilities: left out ${names}, which this host does not give to silt either`);
  return {
    bounding: wanted.bounding & own,
    effective: wanted.effective & own,
    permitted: wanted.permitted & own,
    inheritable: wanted.inheritable & own,
    ambient: wanted.ambient & own,
  };
}
