import { closeSync, existsSync, fstatSync, openSync, readlinkSync, statSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Namespace, NamespaceType, Spec } from '../../oci';
import { C, type Kernel, ProgramBuilder } from '../../syscall';
import type { Pod } from './pod';
import { JOINED_FDS } from '../programs/own-namespaces';
import { isSameProcess, type StateDirectory } from '../state/state';

/** What the kernel calls a kind of namespace in /proc/PID/ns, and in the link that stands there (namespaces(7)), and its flag of clone(2). */
const KINDS: Readonly<Record<NamespaceType, { readonly name: string; readonly flag: number }>> = {
  cgroup: { name: 'cgroup', flag: C.CLONE_NEWCGROUP },
  ipc: { name: 'ipc', flag: C.CLONE_NEWIPC },
  mount: { name: 'mnt', flag: C.CLONE_NEWNS },
  network: { name: 'net', flag: C.CLONE_NEWNET },
  pid: { name: 'pid', flag: C.CLONE_NEWPID },
  time: { name: 'time', flag: C.CLONE_NEWTIME },
  user: { name: 'user', flag: C.CLONE_NEWUSER },
  uts: { name: 'uts', flag: C.CLONE_NEWUTS },
};

/** The namespace of this kind that the spec lists, and where in it. */
export function listedNamespace(spec: Spec, type: NamespaceType): { listed: Namespace; jsonPath: string } | undefined {
  const namespaces = spec.linux?.namespaces ?? [];
  const i = namespaces.findIndex((one) => one.type === type);
  return i < 0 ? undefined : { listed: namespaces[i]!, jsonPath: `$.linux.namespaces[${i}].path` };
}

/**
 * Opens the namespace that the spec names by a path; undefined when it names none of this kind. The fd is the caller's.
 * @throws SiltError SPEC_INVALID when there is no such file, or it is of another kind of namespace or of none.
 */
export function openListed(kernel: Kernel, spec: Spec, type: NamespaceType): number | undefined {
  const { listed, jsonPath } = listedNamespace(spec, type) ?? {};
  const path = listed?.path;
  if (!path) return undefined;
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    const message = `${jsonPath}: cannot open the ${type} namespace ${path}: ${(error as Error).message}`;
    throw new SiltError('SPEC_INVALID', message, { path, jsonPath: jsonPath! }, { cause: error });
  }
  const kind = identityOf(kernel, fd);
  if (kind.startsWith(`${KINDS[type].name}:[`)) return fd;
  closeSync(fd);
  const message = `${jsonPath}: ${path} is not a ${type} namespace, but ${kind}; give the path of one, such as /proc/PID/ns/${KINDS[type].name}`;
  throw new SiltError('SPEC_INVALID', message, { path, jsonPath: jsonPath! });
}

/**
 * Whether this is {@link openListed}'s error of a process that has ended: in a container that comes to a pod, of that whose namespaces are the
 * pod's (the pause container).
 */
export function isOfEndedProcess(error: unknown): boolean {
  if (!(error instanceof SiltError) || error.code !== 'SPEC_INVALID') return false;
  const { code = '' } = (error.cause ?? {}) as NodeJS.ErrnoException;
  return ['ENOENT', 'ESRCH'].includes(code) && /^\/proc\/\d+\/ns\//.test(error.details.path ?? '');
}

/**
 * Opens the namespaces that a container joins by itself, by the names of {@link JOINED_FDS}; the fds are the caller's.
 * @throws SiltError SPEC_INVALID, also for silt's own mount namespace, whose root would become the container's.
 */
export function openOwnNamespaces(kernel: Kernel, spec: Spec): Record<string, number> {
  const fds: Record<string, number> = {};
  try {
    for (const type of ['pid', 'mount', 'cgroup', 'time'] as const) {
      const fd = openListed(kernel, spec, type);
      if (fd !== undefined) fds[JOINED_FDS[type]] = fd;
    }
    const mount = fds[JOINED_FDS.mount];
    if (mount === undefined || identityOf(kernel, mount) !== namespaceOf('self', 'mount')) return fds;
    const { listed, jsonPath } = listedNamespace(spec, 'mount')!;
    const message = `${jsonPath}: ${listed.path} is the mount namespace of the host, in which the container’s root filesystem would take the place of the host’s; leave the path out`;
    throw new SiltError('SPEC_INVALID', message, { path: listed.path!, jsonPath });
  } catch (error) {
    for (const fd of Object.values(fds)) closeSync(fd);
    throw error;
  }
}

/**
 * `KIND:[INODE]` of an open namespace, by which the kernel names it; the path of a file that is none. The kernel is asked for the kind: one
 * that is bound to a file, as by CNI and `ip netns`, has the file's name (ioctl_nsfs(2), NS_GET_NSTYPE, Linux 4.11).
 */
function identityOf(kernel: Kernel, fd: number): string {
  const { dev, ino } = fstatSync(fd);
  // All namespaces lie on one filesystem, and an ioctl is not for what else a path may lead to.
  if (dev !== statSync('/proc/self/ns/mnt').dev) return readlinkSync(`/proc/self/fd/${fd}`);
  const p = new ProgramBuilder();
  const flag = p.slot('flag');
  p.step('asking for the kind of a namespace').call('ioctl', [fd, C.NS_GET_NSTYPE, 0], { out: flag });
  const found = kernel.run(p.build()).get(flag);
  return `${Object.values(KINDS).find((kind) => kind.flag === found)!.name}:[${ino}]`;
}

/** The same of the namespace that a process is in. */
function namespaceOf(pid: number | 'self', type: NamespaceType): string {
  return readlinkSync(`/proc/${pid}/ns/${KINDS[type].name}`);
}

/**
 * A container that comes to a pod shares the pod's namespaces, whatever its spec names: what it names must be these, or those of another
 * container of the pod. A path of somebody else's would not have been honoured, and is refused.
 * @throws SiltError SPEC_INVALID naming the first that is not the pod's.
 */
export function refuseForeignNamespaces(kernel: Kernel, state: StateDirectory, pod: Pod, id: string, spec: Spec): void {
  if (pod.id === id) return;
  for (const { type, path } of spec.linux?.namespaces ?? []) {
    const fd = path ? openListed(kernel, spec, type) : undefined;
    if (fd === undefined) continue;
    try {
      const own = namespaceOf(pod.sandbox.pid, type);
      const identity = identityOf(kernel, fd);
      if (identity === own || (type === 'pid' && isBelow(kernel, fd, own))) continue;
      if (ofContainers(state, pod.id, type).includes(identity)) continue;
    } finally {
      closeSync(fd);
    }
    const { jsonPath } = listedNamespace(spec, type)!;
    const message = `${jsonPath}: ${path} is not a ${type} namespace of the pod ${pod.id}, which container ${id} is to join; give the pod’s, or leave the path out`;
    throw new SiltError('SPEC_INVALID', message, { path: path!, jsonPath, id });
  }
}

function ofContainers(state: StateDirectory, pod: string, type: NamespaceType): string[] {
  return state.containersOf(pod).flatMap((id) => {
    const init = state.containerIfAny(id)?.init;
    if (init === undefined || !isSameProcess(init) || !existsSync(`/proc/${init.pid}/ns`)) return [];
    return [namespaceOf(init.pid, type)];
  });
}

/** Whether a pid namespace is somewhere below another one, where only those are that the pod has made. */
function isBelow(kernel: Kernel, fd: number, ancestor: string): boolean {
  const parent = parentOf(kernel, fd);
  if (parent === undefined) return false;
  try {
    return identityOf(kernel, parent) === ancestor || isBelow(kernel, parent, ancestor);
  } finally {
    closeSync(parent);
  }
}

/** ioctl_nsfs(2), NS_GET_PARENT (Linux 4.9); undefined at the top of what this process may see. */
function parentOf(kernel: Kernel, fd: number): number | undefined {
  const p = new ProgramBuilder();
  p.step('looking for the pid namespace above');
  const parent = p.slot('parent');
  p.call('ioctl', [fd, C.NS_GET_PARENT, 0], { out: parent });
  try {
    return kernel.run(p.build()).get(parent);
  } catch (error) {
    if (error instanceof SiltError && error.details.errno === 'EPERM') return undefined;
    throw error;
  }
}
