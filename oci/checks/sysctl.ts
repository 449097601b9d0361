/** Which sysctls a container may have: those of namespaces that are its own, as runc allows them. */
import type { Linux, NamespaceType } from '../spec-linux';
import { memberPath, refuse } from './shape';

const IPC = ['msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni', 'shm_rmid_forced'];

/**
 * The directories and the file below /proc/sys. sysctl.d(5): a name has dots for slashes, and slashes for dots; when its first
 * separator is a slash, both mean themselves.
 */
function componentsOf(name: string): string[] {
  if (/[./]/.exec(name)?.[0] === '/') return name.split('/');
  return name.split('.').map((component) => component.replaceAll('/', '.'));
}

/** The file of a sysctl that checkSysctls has let pass. */
export function sysctlPath(name: string): string {
  return `/proc/sys/${componentsOf(name).join('/')}`;
}

/** The namespace that a sysctl belongs to; undefined for one of the whole host. */
function ownerOf([top, ...rest]: readonly string[]): NamespaceType | undefined {
  if (top === 'net') return 'network';
  if (top === 'user') return 'user';
  if (top === 'fs' && rest[0] === 'mqueue') return 'ipc';
  if (top !== 'kernel' || rest.length !== 1) return undefined;
  if (IPC.includes(rest[0]!)) return 'ipc';
  return rest[0] === 'domainname' || rest[0] === 'hostname' ? 'uts' : undefined;
}

/** True for a network namespace, given by path, that is the host's. */
export type IsHostNetwork = (path: string) => boolean;

/** @throws SiltError SPEC_INVALID for a sysctl that would change the host or another pod. */
export function checkSysctls(linux: Linux, path: string, isHostNetwork: IsHostNetwork): void {
  const namespaces = linux.namespaces ?? [];
  for (const key of Object.keys(linux.sysctl ?? {})) {
    const at = memberPath(`${path}.sysctl`, key);
    const components = componentsOf(key);
    if (components.length < 2 || components.some((one) => /^\.{0,2}$|\//.test(one))) {
      throw refuse(at, `${JSON.stringify(key)} is not the name of a sysctl`);
    }
    const owner = ownerOf(components);
    if (owner === undefined) throw refuse(at, 'is in no namespace: it would change the host');
    const namespace = namespaces.find(({ type }) => type === owner);
    if (!namespace) throw refuse(at, `belongs to the ${owner} namespace, and the container has the host's`);
    if (owner === 'network' && namespace.path !== undefined && isHostNetwork(namespace.path)) {
      throw refuse(at, `belongs to the network namespace, and ${namespace.path} is the host's`);
    }
    if (components.join('.') === 'kernel.hostname') throw refuse(at, 'is what $.hostname sets; give it there');
  }
}
