/** What containerd mounts in containers of a pod that it holds itself, and leaves to the sandbox otherwise. */
import type { Mount, Spec } from '../oci';
import type { PodSandboxConfig } from '../proto';

/** A container's spec with what is the pod's. */
export interface CompletedSpec {
  readonly spec: Spec;
  /** Where it mounts a tmpfs that is the same for all of the pod's containers. */
  readonly sharedMemory?: string;
}

/** The pod's files of /etc, by their names. Those that the host's own serve for are left out. */
export function sandboxFiles(
  hostname: string | undefined,
  config: PodSandboxConfig | undefined,
): Record<string, string> {
  if (hostname === undefined) return {};
  const { servers = [], searches = [], options = [] } = config?.dnsConfig ?? {};
  const resolver = [
    searches.length > 0 ? `search ${searches.join(' ')}` : '',
    ...servers.map((server) => `nameserver ${server}`),
    options.length > 0 ? `options ${options.join(' ')}` : '',
  ].filter(Boolean);
  return {
    hostname: `${hostname}\n`,
    hosts: `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t${hostname}\n`,
    ...(resolver.length > 0 ? { 'resolv.conf': `${resolver.join('\n')}\n` } : {}),
  };
}

/** As containerd makes it for a pod that it holds. */
const SHARED_MEMORY: Mount = {
  destination: '/dev/shm',
  source: 'shm',
  type: 'tmpfs',
  options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
};

/**
 * Adds the files and the shared memory; what the spec mounts itself stays: a volume of /dev/shm's, say, or the host's for a pod with the host's ipc
 * namespace. A tmpfs there is nobody's wish: containerd has it in every spec, and puts that of the pod in its place where it holds the pod.
 * @param pathOf where the file of this name is
 */
export function withSandboxFiles(
  spec: Spec,
  names: readonly string[],
  pathOf: (name: string) => string,
): CompletedSpec {
  const mounts = spec.mounts ?? [];
  const isThere = (destination: string): boolean => mounts.some((mount) => mount.destination === destination);
  const files = names.map((name): Mount => ({
    destination: `/etc/${name}`,
    source: pathOf(name),
    type: 'bind',
    options: ['rbind', 'rw'],
  }));
  const { destination: sharedMemory } = SHARED_MEMORY;
  const ofVolume = mounts.some(({ destination, type }) => destination === sharedMemory && type !== 'tmpfs');
  // Upon /dev, and beneath what is mounted in it.
  const place = isThere(sharedMemory) ? 0 : mounts.findLastIndex(({ destination }) => destination === '/dev') + 1;
  const all = [
    ...mounts.slice(0, place),
    ...(isThere(sharedMemory) ? [] : [SHARED_MEMORY]),
    ...mounts.slice(place),
    ...files.filter(({ destination }) => !isThere(destination)),
  ];
  return { spec: { ...spec, mounts: all }, ...(ofVolume ? {} : { sharedMemory }) };
}
