/** `linux.netDevices` of the spec (config-linux.md, "Network Devices"): devices of the host's that the container gets. */
import { closeSync, fstatSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Spec } from '../../oci';
import { C, type Kernel, open, prctl, ProgramBuilder, setns } from '../../syscall';
import { report } from '../programs/reports';
import type { Address, Link } from './netlink';
import { openRouteSocket, RouteSocket } from './route-socket';

/** A network namespace with a way to change it. */
interface Place {
  readonly routes: RouteSocket;
  /** An fd of the namespace. */
  readonly namespace: number;
}

interface Moved {
  readonly was: Link;
  readonly is: Link;
  /** The permanent ones, of every scope. */
  readonly addresses: readonly Address[];
}

/**
 * Moves the devices that a spec names to the network namespace of a pod: under their new names, with their permanent global addresses, up.
 * @param sandbox a pidfd of the pod's sandbox, borrowed
 * @param warn told by name of a device that is not back as it was
 * @returns what takes them back, up and with their addresses; for a container that does not come to be. Later they are the namespace's: with its end the
 * kernel gives physical ones back to the host, and destroys the others (network_namespaces(7)). It does not throw: one that stays keeps no other, and
 * hides no error.
 * @throws SiltError SPEC_INVALID for a device that is not there or a namespace that is the host's, SYSCALL_FAILED; all have been taken back then.
 */
export function moveNetDevices(
  kernel: Kernel,
  sandbox: number,
  { linux }: Spec,
  warn: (message: string) => void,
): () => void {
  const wanted = Object.entries(linux?.netDevices ?? {});
  if (wanted.length === 0) return () => undefined;
  const moved: Moved[] = [];
  const between = (body: (host: Place, pod: Place) => void): void => {
    const places: Place[] = [];
    try {
      places.push(openPlace(kernel));
      places.push(openPlace(kernel, sandbox));
      body(places[0]!, places[1]!);
    } finally {
      for (const { routes, namespace } of places) {
        routes.close();
        closeSync(namespace);
      }
    }
  };
  const back = (): void => {
    if (moved.length === 0) return;
    const stays = ({ was }: Moved, error: unknown): void =>
      warn(`the network device ${was.name} has not been given back as it was: ${(error as Error).message}`);
    try {
      between((host, pod) => {
        for (let one = moved.pop(); one; one = moved.pop()) {
          try {
            takeBack(host, pod, one);
          } catch (error) {
            stays(one, error);
          }
        }
      });
    } catch (error) {
      for (const one of moved) stays(one, error);
    }
  };
  try {
    between((host, pod) => {
      if (fstatSync(host.namespace).ino === fstatSync(pod.namespace).ino)
        throw refuse('$.linux.netDevices', 'the container’s network namespace is the host’s, where they are already');
      for (const [name, { name: newName = '' }] of wanted)
        moveDevice(host, pod, name, newName === '' ? name : newName, moved);
    });
    return back;
  } catch (error) {
    back();
    throw error;
  }
}

function refuse(jsonPath: string, message: string): SiltError {
  return new SiltError('SPEC_INVALID', `${jsonPath}: ${message}`, { jsonPath });
}

/** This process's network namespace, or that of a process. */
function openPlace(kernel: Kernel, pidfd?: number): Place {
  const p = new ProgramBuilder();
  p.step('preparing to look at a network namespace');
  prctl(p, 'PR_SET_DUMPABLE', 0);
  p.call('setpgid', [0, 0]);
  if (pidfd !== undefined) setns(p, p.donated('sandbox'), 'CLONE_NEWNET');
  const namespace = open(p, '/proc/self/ns/net', 'O_RDONLY');
  report(p, 'network', [openRouteSocket(p), namespace]);
  const [socket, ns] = kernel
    .runApart(p.build(), pidfd === undefined ? {} : { sandbox: pidfd })
    .flatMap(({ fds }) => fds);
  return { routes: new RouteSocket(kernel, socket!), namespace: ns! };
}

function moveDevice(host: Place, pod: Place, name: string, newName: string, moved: Moved[]): void {
  const jsonPath = `$.linux.netDevices[${JSON.stringify(name)}]`;
  const was = host.routes.link(name);
  if (!was) throw refuse(jsonPath, `there is no network device ${name} in the runtime’s network namespace`);
  // Before: the kernel forgets those of IPv6 when a device goes down.
  const addresses = host.routes.addresses(was).filter(({ flags }) => (flags & C.IFA_F_PERMANENT) !== 0);
  const before = new Set(pod.routes.links().map(({ index }) => index));
  const arrived = (...names: string[]): Link | undefined =>
    pod.routes
      .links()
      .find((link) => !before.has(link.index) && names.some((one) => one.includes('%') || one === link.name));
  try {
    host.routes.move(was, pod.namespace, newName);
  } catch (error) {
    // The kernel moves it first and gives it its name then, if it can (do_setlink in net/core/rtnetlink.c, Linux 6.18).
    const stranded = arrived(name);
    if (stranded) moved.push({ was, is: stranded, addresses });
    throw explained(error, jsonPath, newName);
  }
  // A pattern has become a name, and the index may be another one.
  const is = arrived(newName);
  if (!is) throw new SiltError('INTERNAL', `the network device ${name} is not where it has been moved to`);
  moved.push({ was, is, addresses });
  for (const address of addresses) if (address.scope === C.RT_SCOPE_UNIVERSE) pod.routes.addAddress(is, address);
  pod.routes.setUp(is);
}

function takeBack(host: Place, pod: Place, { was, is, addresses }: Moved): void {
  pod.routes.move(is, host.namespace, was.name);
  const link = host.routes.link(was.name);
  if (!link) return;
  if (was.up) host.routes.setUp(link);
  for (const address of addresses) {
    try {
      host.routes.addAddress(link, address);
    } catch (error) {
      // One of scope link that the kernel makes by itself.
      if (!(error instanceof SiltError) || error.details.errno !== 'EEXIST') throw error;
    }
  }
}

function explained(error: unknown, jsonPath: string, name: string): unknown {
  if (!(error instanceof SiltError)) return error;
  const meaning = {
    EEXIST: `; the container’s network namespace has a device ${name} already: give it another name`,
    EINVAL: '; it may be of a kind that cannot be moved',
  }[error.details.errno ?? ''];
  return new SiltError(
    error.code,
    `${jsonPath}: ${error.message}${meaning ?? ''}`,
    { ...error.details, jsonPath },
    { cause: error },
  );
}
