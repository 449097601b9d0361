import { SiltError } from '../../errors';
import { type IdMaps, type IdRange, mapFileText, podRootSysctls } from '../../gofer';
import { hostNeeds, isPrivileged, type Linux, type Spec } from '../../oci';
import type { Config } from '../config/config';
import type { NamespaceSource, SandboxPlan } from '../programs/sandbox';

export interface PodRequest {
  readonly id: string;
  readonly spec: Spec;
  readonly config: Config;
  /** Takes a range of ids for a pod that gets a user namespace of silt's choosing. */
  readonly claimIds: () => IdMaps;
  /** The ids of the user namespace that the spec names by its path; null when it names none, or that of the host. */
  readonly joinedIds: IdMaps | null;
  /** The pod that the spec's namespaces belong to, where they are those of another one that silt gave a range. */
  readonly neighbour?: Neighbour | undefined;
}

/** A pod whose namespaces another one joins by path. */
export interface Neighbour {
  readonly idMaps: IdMaps;
  /** Whether its network is among them. */
  readonly network: boolean;
}

/** Kinds of namespace that a pod can join by path. */
export type JoinedKind = 'network' | 'ipc' | 'uts' | 'user';

/** What a pod's sandbox is started with, and the paths of the namespaces that it joins. */
export interface PodPlan {
  readonly sandbox: SandboxPlan;
  readonly paths: Readonly<Partial<Record<JoinedKind, string>>>;
}

/** The path of a namespace that the spec wants joined; undefined for none. */
export function joinedPath(spec: Spec, type: JoinedKind): string | undefined {
  return spec.linux?.namespaces?.find((one) => one.type === type)?.path || undefined;
}

/**
 * Plans a pod from the spec of its first container, or from one without a process: a pod by itself.
 * @throws SiltError SPEC_INVALID, SPEC_UNSUPPORTED naming the namespace.
 */
export function podPlan(request: PodRequest): PodPlan {
  const { spec, config } = request;
  const namespaces = spec.linux?.namespaces ?? [];
  const paths: Partial<Record<JoinedKind, string>> = {};
  const source = (type: JoinedKind): NamespaceSource => {
    const namespace = namespaces.find((one) => one.type === type);
    if (!namespace) return 'host';
    if (!namespace.path) return 'new';
    paths[type] = namespace.path;
    return 'joined';
  };
  const sandbox: SandboxPlan = {
    id: request.id,
    network: source('network'),
    foreignNetwork: false,
    ipc: source('ipc'),
    uts: source('uts'),
    pid: namespaces.some(({ type }) => type === 'pid'),
    hostname: spec.hostname,
    domainname: spec.domainname,
    idMaps: null,
    user: source('user'),
    hostSysctls: [],
    sysctls: [],
  };
  const maps = idMaps(request, sandbox, config);
  if (maps === null) delete paths.user;
  const beside = maps !== null && maps === request.neighbour?.idMaps;
  const user = maps === null ? 'host' : beside || sandbox.user === 'joined' ? 'joined' : 'new';
  const ownNetwork = beside ? request.neighbour.network : sandbox.user === 'joined';
  const foreignNetwork = sandbox.network === 'joined' && !ownNetwork;
  // Without a container's root to build nobody else sets those that are host root's, which a sandbox without ids of its own is.
  const everyOne = spec.process === undefined && maps === null;
  const all = Object.entries(spec.linux?.sysctl ?? {});
  const sysctls = everyOne ? all : podRootSysctls(spec, maps);
  const hostSysctls = maps && sandbox.network === 'joined' && !(beside && ownNetwork) ? networkDefaults(maps) : [];
  const left = spec.process === undefined ? all.filter(([key]) => !sysctls.some(([own]) => own === key)) : [];
  const ids = { idMaps: maps, user, foreignNetwork } as const;
  return { sandbox: { ...sandbox, ...ids, hostSysctls: [...hostSysctls, ...left], sysctls }, paths };
}

/**
 * A network namespace that somebody else has made (CNI) is not the pod's root's: it has no capability there. What programs expect of
 * root all the same, ports below 1024 and ping, is for everybody then. What the spec says of these goes before it, later.
 */
function networkDefaults({ gids }: IdMaps): [string, string][] {
  const [first] = gids;
  // Written by host root, so they are the host's ids (net/ipv4/sysctl_net_ipv4.c).
  const ping = first === undefined ? '1 0' : `${first.hostID} ${first.hostID + first.size - 1}`;
  return [
    ['net.ipv4.ip_unprivileged_port_start', '0'],
    ['net.ipv4.ping_group_range', ping],
  ];
}

/**
 * A user namespace that the spec describes is honoured. With `userns = "auto"` every other pod gets one, unless it shares a
 * namespace with the host, over which its root would then have no rights, is privileged, or asks for what no user namespace can give.
 * One that joins another pod's namespaces is in the user namespace that these belong to: over its processes and its network it would have no
 * rights from any other.
 */
function idMaps(request: PodRequest, sandbox: SandboxPlan, config: Config): IdMaps | null {
  const { linux } = request.spec;
  const user = linux?.namespaces?.find(({ type }) => type === 'user');
  if (user?.path) return checkJoined(user.path, linux, request.joinedIds);
  if (user) {
    const uids: readonly IdRange[] = linux?.uidMappings ?? [];
    const gids: readonly IdRange[] = linux?.gidMappings ?? [];
    if (uids.length > 0 && gids.length > 0) return { uids, gids };
    const jsonPath = uids.length === 0 ? '$.linux.uidMappings' : '$.linux.gidMappings';
    throw new SiltError('SPEC_INVALID', `${jsonPath}: a new user namespace needs at least one range`, { jsonPath });
  }
  if (config.userns === 'none' || isPrivileged(request.spec)) return null;
  const { neighbour } = request;
  if (hostNeeds(request.spec, sandbox.network === 'joined' && !neighbour?.network).length > 0) return null;
  const shared = sandbox.network === 'host' || sandbox.ipc === 'host' || sandbox.uts === 'host' || !sandbox.pid;
  return shared ? null : (neighbour?.idMaps ?? request.claimIds());
}

/**
 * What a user namespace maps was written when it was made, and whatever silt gives owners to has to go by that. An engine that has made it
 * (containerd 2) gives the mappings too.
 */
function checkJoined(path: string, linux: Linux | undefined, actual: IdMaps | null): IdMaps | null {
  if (actual === null) return null;
  for (const [field, found] of [
    ['uidMappings', actual.uids],
    ['gidMappings', actual.gids],
  ] as const) {
    const wanted = linux?.[field] ?? [];
    if (wanted.length === 0 || mapFileText(wanted) === mapFileText(found)) continue;
    const show = (ranges: readonly IdRange[]): string => mapFileText(ranges).trim().replaceAll('\n', ', ');
    const jsonPath = `$.linux.${field}`;
    const message = `${jsonPath}: ${show(wanted)} is not what the user namespace ${path} maps, which is ${show(found)}; leave the mappings out, or the path`;
    throw new SiltError('SPEC_INVALID', message, { jsonPath });
  }
  return actual;
}
