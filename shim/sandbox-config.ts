import { hostname } from 'node:os';
import { SiltError } from '../errors';
import type { Namespace, Spec } from '../oci';
import { NamespaceMode, type PodSandboxConfig } from '../proto';

/** What containerd has said about a pod that has no spec, in the terms of one. */
export interface SandboxDescription {
  /** Of no container: namespaces, ids, names and sysctls of the pod. */
  readonly spec: Spec;
  /** All containers share one pid namespace. */
  readonly sharesPids: boolean;
  /** The pod's cgroup; '' when nothing was said. */
  readonly cgroupParent: string;
}

/**
 * Describes a pod from CRI's configuration of it, as containerd does for its pause containers: a pod with the host's network has the
 * host's name too; ports below 1024 and ping need no capability in a network of the pod's own.
 * @param config undefined from clients other than CRI: a pod that shares nothing with the host but what netnsPath says
 * @param netnsPath empty: the host's network with CRI, a new one without
 * @throws SiltError REQUEST_INVALID for a user namespace of another container: containerd refuses that where it holds the pod
 */
export function describeSandbox(config: PodSandboxConfig | undefined, netnsPath: string): SandboxDescription {
  const modes = config?.linux?.securityContext?.namespaceOptions;
  const { usernsOptions } = modes ?? {};
  const isPods = usernsOptions?.mode === NamespaceMode.POD;
  if (usernsOptions && !isPods && usernsOptions.mode !== NamespaceMode.NODE) {
    const { mode: number } = usernsOptions;
    const [mode = number] = Object.entries(NamespaceMode).find(([, known]) => known === number) ?? [];
    throw new SiltError(
      'REQUEST_INVALID',
      `cannot create the pod: its user namespace is to have the mode ${mode}, but can be its own (POD) or the host's (NODE)`,
    );
  }
  const userns = isPods ? usernsOptions : undefined;
  const hostNetwork = modes?.network === NamespaceMode.NODE;
  const namespaces: Namespace[] = [{ type: 'mount' }];
  if (!hostNetwork) {
    namespaces.push(netnsPath === '' ? { type: 'network' } : { type: 'network', path: netnsPath }, { type: 'uts' });
  }
  if (modes?.ipc !== NamespaceMode.NODE) namespaces.push({ type: 'ipc' });
  if (modes?.pid !== NamespaceMode.NODE) namespaces.push({ type: 'pid' });
  if (userns) namespaces.push({ type: 'user' });
  const map = ({ hostId, containerId, length }: { hostId: number; containerId: number; length: number }) => ({
    hostID: hostId,
    containerID: containerId,
    size: length,
  });
  const unprivileged: Record<string, string> = hostNetwork
    ? {}
    : {
        'net.ipv4.ip_unprivileged_port_start': '0',
        ...(userns ? {} : { 'net.ipv4.ping_group_range': '0 2147483647' }),
      };
  const name = config?.hostname === undefined || config.hostname === '' ? hostname() : config.hostname;
  const spec: Spec = {
    ociVersion: '1.1.0',
    ...(hostNetwork ? {} : { hostname: name }),
    annotations: config?.annotations ?? {},
    linux: {
      namespaces,
      sysctl: { ...unprivileged, ...config?.linux?.sysctls },
      ...(userns ? { uidMappings: userns.uids.map(map), gidMappings: userns.gids.map(map) } : {}),
    },
  };
  return {
    spec,
    sharesPids: modes !== undefined && modes.pid === NamespaceMode.POD,
    cgroupParent: config?.linux?.cgroupParent ?? '',
  };
}
