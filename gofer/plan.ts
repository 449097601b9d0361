import path from 'node:path';
import { type Mount, type MountOptions, parseMountOptions, type Spec } from '../oci';
import { C } from '../syscall';
import { planDevices } from './devices';
import { SHARED_MEMORY } from './fds';
import { type IdMaps, sameMaps, toHost } from './id-map';
import { labelMount } from './mount-label';
import { takesDetachedLayers } from './overlay';
import { hostOwner, invalid, isPodRoots } from './owners';
import { planBind, type PlannedMount } from './plan-bind';
import type { MountStep, RootPlan, RootPlanInput } from './root-plan';
import type { Owner } from './target';

/**
 * Turns a spec into the plan of a root filesystem. Pure: everything that can be refused is refused here, before the first
 * side effect.
 * @throws SiltError SPEC_INVALID naming the JSON path.
 */
export function planRoot(input: RootPlanInput): RootPlan {
  const { spec, idMaps } = input;
  const owner = hostOwner(idMaps, 0, 0, '$.process.user');
  const planned: PlannedMount[] = [];
  for (const [i, mount] of (spec.mounts ?? []).entries())
    planned.push(planMount(mount, `$.mounts[${i}]`, input, owner, planned));
  const { mounts, mountMaps } = nameMaps(planned);
  const copyUps = mounts.flatMap((step) =>
    step.kind === 'filesystem' && step.given !== undefined && step.given !== SHARED_MEMORY
      ? [{ name: step.given, step }]
      : [],
  );
  const dev = mounts.find((step) => step.destination === '/dev' && step.kind !== 'remount');
  const user = spec.process?.user;
  const terminal = spec.process?.terminal === true;
  if (
    terminal &&
    !mounts.some((step) => step.kind === 'filesystem' && step.type === 'devpts' && step.destination === '/dev/pts')
  ) {
    throw invalid('$.process.terminal', 'a terminal needs a devpts mount at /dev/pts, and $.mounts has none');
  }
  return {
    layers: input.layers.map((layer) => ({
      path: layer,
      idmap: idMaps !== null && !isPodRoots(input.ownerOf(layer), owner),
    })),
    upper: input.upper,
    cover: input.cover,
    attachLayers: !takesDetachedLayers(input.kernel),
    mountPoint: input.mountPoint,
    userns: idMaps !== null,
    owner,
    sysctls: hostRootSysctls(spec, idMaps),
    mounts,
    mountMaps,
    copyUps,
    devices: dev?.kind === 'bind' ? [] : planDevices(spec.linux?.devices ?? [], idMaps),
    deviceLinks: dev?.kind !== 'bind',
    terminal: terminal ? hostOwner(idMaps, user?.uid ?? 0, terminalGroup(spec), '$.process.user') : undefined,
    mountLabel: mountLabelOf(spec),
    maskedPaths: [...new Set(spec.linux?.maskedPaths)],
    readonlyPaths: spec.linux?.readonlyPaths ?? [],
    workingDirectory: spec.process?.cwd ?? '/',
    readonlyRoot: spec.root?.readonly ?? false,
    propagation: rootPropagation(spec.linux?.rootfsPropagation),
  };
}

/**
 * The sysctls that host root has to set. Those of namespaces that belong to the pod's user namespace are for the pod's own
 * root: the kernel refuses others, or takes their ids for the host's (net.ipv4.ping_group_range). The sandbox sets them.
 */
function hostRootSysctls(spec: Spec, idMaps: IdMaps | null): [string, string][] {
  const all = Object.entries(spec.linux?.sysctl ?? {});
  if (idMaps === null) return all;
  const joinsNetwork = spec.linux?.namespaces?.some(({ type, path: joined }) => type === 'network' && joined) ?? false;
  return all.filter(([key]) => joinsNetwork && /^net[./]/.test(key));
}

/** The other ones, for the pod's root. */
export function podRootSysctls(spec: Spec, idMaps: IdMaps | null): [string, string][] {
  const byHostRoot = new Set(hostRootSysctls(spec, idMaps).map(([key]) => key));
  const own = Object.entries(spec.linux?.sysctl ?? {}).filter(([key]) => !byHostRoot.has(key));
  return own.map(([key, value]) => [key, idMaps && PING_GROUPS.test(key) ? groupsThatExist(value, idMaps) : value]);
}

const PING_GROUPS = /^net[./]ipv4[./]ping_group_range$/;

/** Engines let all groups ping, "0 2147483647" (Docker). The kernel refuses a group that the namespace does not have. */
function groupsThatExist(value: string, { gids }: IdMaps): string {
  const [, low, high] = /^\s*(\d+)\s+(\d+)\s*$/.exec(value) ?? [];
  const range = gids.find(({ containerID, size }) => Number(low) >= containerID && Number(low) < containerID + size);
  if (high === undefined || range === undefined) return value;
  return `${low} ${Math.min(Number(high), range.containerID + range.size - 1)}`;
}

/** Absolute and without `.`, `..` and double slashes. */
export function mountDestination({ destination }: Mount): string {
  return path.posix.resolve('/', destination);
}

function mountLabelOf({ linux }: Spec): string | undefined {
  return linux?.mountLabel === '' ? undefined : linux?.mountLabel;
}

/** The group of terminals is a matter of the devpts: its option `gid`, `tty` as a rule. Without it they are the user's. */
function terminalGroup({ mounts = [], process }: Spec): number {
  const devpts = mounts.find((mount) => mount.type === 'devpts' && mountDestination(mount) === '/dev/pts');
  const gid = devpts?.options?.map((option) => /^gid=(\d+)$/.exec(option)?.[1]).find((value) => value !== undefined);
  return gid === undefined ? (process?.user?.gid ?? 0) : Number(gid);
}

/** Gives the mappings that mounts have of their own names, the same for equal ones. */
function nameMaps(planned: readonly PlannedMount[]): Pick<RootPlan, 'mounts' | 'mountMaps'> {
  const mountMaps: Record<string, IdMaps> = {};
  const nameOf = (maps: IdMaps): string => {
    const known = Object.keys(mountMaps).find((name) => sameMaps(mountMaps[name]!, maps));
    if (known !== undefined) return known;
    const name = `mount_userns${Object.keys(mountMaps).length}`;
    mountMaps[name] = maps;
    return name;
  };
  const mounts = planned.map((step): MountStep => {
    if (!('maps' in step)) return step;
    const { maps, ...bind } = step;
    return { ...bind, idmap: { userns: nameOf(maps), recursive: bind.idmap!.recursive } };
  });
  return { mounts, mountMaps };
}

function planMount(
  mount: Mount,
  jsonPath: string,
  input: RootPlanInput,
  owner: Owner,
  earlier: readonly PlannedMount[],
): PlannedMount {
  const options = parseMountOptions(mount.options ?? []);
  const named = mountDestination(mount);
  const destination = input.placeOf(named) ?? named;
  if (options.remount) {
    const bind = options.bind || mount.type === 'bind';
    const data = bind ? [] : filesystemData({ ...mount, source: '' }, options, jsonPath, input.idMaps, undefined);
    return { kind: 'remount', destination, data, options };
  }
  if (options.bind || mount.type === 'bind') return planBind(mount, destination, options, jsonPath, input, earlier);
  if (mount.type === undefined || mount.type === '')
    throw invalid(`${jsonPath}.type`, 'a mount that is no bind mount needs a type');
  if (mount.type === 'cgroup' || mount.type === 'cgroup2') {
    if (input.cgroup !== 'v2') return { kind: 'cgroup-v1', destination, options, view: input.cgroup };
    return { kind: 'filesystem', type: 'cgroup2', destination, data: [], options, chown: undefined };
  }
  const labelled = labelMount(mount.type, options, mountLabelOf(input.spec));
  return {
    kind: 'filesystem',
    type: mount.type,
    destination,
    data: [
      ...filesystemData(mount, options, jsonPath, input.idMaps, owner),
      ...modeOfTmpfs(mount, named, options, input),
      ...labelled.data,
    ],
    options,
    chown: input.idMaps !== null && ROOT_OF_HOST.includes(mount.type) ? owner : undefined,
    ...(labelled.rootLabel === undefined ? {} : { rootLabel: labelled.rootLabel }),
    ...givenAs(mount, named, options, input),
  };
}

/** The name of the fd of a mount that somebody makes before the gofer starts. */
function givenAs(
  mount: Mount,
  destination: string,
  { copyUp }: MountOptions,
  { spec, sharedMemory }: RootPlanInput,
): { given?: string } {
  if (mount.type === 'tmpfs' && destination === sharedMemory) return { given: SHARED_MEMORY };
  return copyUp ? { given: `copy_up${spec.mounts!.indexOf(mount)}` } : {};
}

/** A tmpfs whose mode nobody says has that of the directory that it covers, as with runc. */
function modeOfTmpfs(
  mount: Mount,
  destination: string,
  options: MountOptions,
  { modeOf }: RootPlanInput,
): (readonly [string, string])[] {
  if (mount.type !== 'tmpfs' || options.data.some(({ key }) => key === 'mode')) return [];
  const mode = modeOf(destination);
  return mode === undefined ? [] : [['mode', mode.toString(8)]];
}

/** The root directory of these belongs to whoever mounts them, and they have no option to say otherwise. */
const ROOT_OF_HOST: readonly string[] = ['mqueue', 'devpts'];

/** Filesystems of these types have owners among their parameters, which the gofer, host root, has to give as the host's. */
const OWNED: Readonly<Record<string, readonly ('uid' | 'gid')[]>> = {
  tmpfs: ['uid', 'gid'],
  devpts: ['uid', 'gid'],
  ramfs: [],
};

function filesystemData(
  mount: Mount,
  options: MountOptions,
  jsonPath: string,
  idMaps: IdMaps | null,
  owner: Owner | undefined,
): (readonly [string, string | undefined])[] {
  const data: (readonly [string, string | undefined])[] = [];
  const given = new Set<string>();
  for (const { key, value } of options.data) {
    given.add(key);
    if (idMaps !== null && (key === 'uid' || key === 'gid') && value !== undefined) {
      const host = toHost(key === 'uid' ? idMaps.uids : idMaps.gids, Number(value));
      if (host === undefined)
        throw invalid(`${jsonPath}.options`, `${key}=${value} is not in the pod's user namespace`);
      data.push([key, `${host}`]);
    } else {
      data.push([key, value]);
    }
  }
  if (idMaps !== null && owner !== undefined) {
    for (const key of OWNED[mount.type ?? ''] ?? [])
      if (!given.has(key) && key in owner) data.push([key, `${owner[key]}`]);
  }
  // The source is what /proc/mounts shows; the kernel takes it as a parameter of the new mount API.
  if (mount.source) data.unshift(['source', mount.source]);
  return data;
}

function rootPropagation(name: string | undefined): { type: number; recursive: boolean } {
  const types = new Map<string, number>([
    ['private', C.MS_PRIVATE],
    ['slave', C.MS_SLAVE],
    ['shared', C.MS_SHARED],
    ['unbindable', C.MS_UNBINDABLE],
  ]);
  const text = name === undefined || name === '' ? 'private' : name;
  const recursive = text.startsWith('r');
  const type = types.get(recursive ? text.slice(1) : text);
  if (type === undefined)
    throw invalid('$.linux.rootfsPropagation', `${JSON.stringify(name)} is not private, slave, shared or unbindable`);
  return { type, recursive };
}
