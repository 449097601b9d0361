import path from 'node:path';
import { SiltError } from '../errors';
import { type Mount, type MountOptions, parseMountOptions, type Spec } from '../oci';
import { C, isAtLeast, type Version } from '../syscall';
import { type DeviceNode, planDevices } from './devices';
import { USERNS } from './fds';
import { type IdMaps, type IdRange, rangesToHost, sameMaps, toHost } from './id-map';
import { takesDetachedLayers } from './overlay';
import type { OverlayView } from './overlay-view';
import type { Owner } from './target';

/** A new filesystem instance at `destination`. */
export interface FilesystemStep {
  readonly kind: 'filesystem';
  readonly type: string;
  readonly destination: string;
  /** Parameters for fsconfig(2), in order; those without a value are flags. */
  readonly data: readonly (readonly [key: string, value: string | undefined])[];
  readonly options: MountOptions;
  /** Whose the filesystem's root directory becomes, where the kernel gives it to the host's root otherwise. */
  readonly chown: Owner | undefined;
  /** The fd of this name is the mount, made beforehand by {@link makeFilesystem}. */
  readonly given?: string;
}

/** A host file or directory, or a tree of mounts, at `destination`. */
export interface BindStep {
  readonly kind: 'bind';
  readonly source: string;
  readonly destination: string;
  readonly directory: boolean;
  readonly options: MountOptions;
  /** Show the host's ids as others (idmapped mount), or null. */
  readonly idmap: MountIdmap | null;
  /** The source lies on an overlay of these layers alone, and is shown as `inside` of one made of them anew. */
  readonly view?: { readonly layers: readonly Layer[]; readonly inside: string };
  /** The name, in the mount that has the root's upper, of what takes the writes in place of the host's file or directory. */
  readonly overlay?: string;
}

export interface MountIdmap {
  /** The name of the fd of the user namespace whose mappings are meant: the pod's, or one of {@link RootPlan.mountMaps}. */
  readonly userns: string;
  /** The mounts below too. */
  readonly recursive: boolean;
  /** The kernel may be unable to: then the files are shown as nobody's. */
  readonly optional?: boolean;
}

/** Another word on a mount that an earlier step has made: at least its flags. */
export interface RemountStep {
  readonly kind: 'remount';
  readonly destination: string;
  /** For the filesystem itself, as {@link FilesystemStep.data}; empty leaves it alone. */
  readonly data: readonly (readonly [key: string, value: string | undefined])[];
  readonly options: MountOptions;
}

/** `tmpcopyup`: the tmpfs of a mount, which starts with what it covers. */
export interface CopyUp {
  /** The name of the fd that the gofer is given it as. */
  readonly name: string;
  readonly step: FilesystemStep;
}

/** The container's own cgroup, one directory per cgroup v1 hierarchy, on a small tmpfs. */
export interface CgroupV1Step {
  readonly kind: 'cgroup-v1';
  readonly destination: string;
  readonly options: MountOptions;
  readonly view: CgroupV1View;
}

export type MountStep = FilesystemStep | BindStep | CgroupV1Step | RemountStep;

/** What a container sees below /sys/fs/cgroup on a cgroup v1 host. */
export interface CgroupV1View {
  readonly directories: readonly { readonly name: string; readonly hostPath: string }[];
  readonly links: readonly { readonly name: string; readonly target: string }[];
}

export interface Layer {
  /** Absolute, of the host. */
  readonly path: string;
  /** Show the host's ids as the pod's (idmapped mount): not where the engine has given the files to the pod's ids already. */
  readonly idmap: boolean;
}

export interface RootPlan {
  /** Read-only layers, the topmost first. Without an upper the first is the root itself. */
  readonly layers: readonly Layer[];
  /** The names of the upper and the overlay's work directory in the mount that the gofer is given; null: there is no overlay. */
  readonly upper: { readonly fs: string; readonly work: string } | null;
  /** The gofer is given a layer of whiteouts, to lie above the others. */
  readonly cover: boolean;
  /** The kernel needs layers that are attached somewhere, see {@link AttachedOverlays}. */
  readonly attachLayers: boolean;
  /** An empty host directory that the root is attached to while it is built. */
  readonly mountPoint: string;
  /** The pod has a user namespace: layers and volumes are idmapped, the finished tree is locked. */
  readonly userns: boolean;
  /** The pod's root, as the host numbers it. */
  readonly owner: Owner;
  readonly sysctls: readonly (readonly [key: string, value: string])[];
  readonly mounts: readonly MountStep[];
  /** Mappings of mounts that are not the pod's, by the name of the fd that a user namespace with them is given as. */
  readonly mountMaps: Readonly<Record<string, IdMaps>>;
  /** What of the image is to be copied into a filesystem that is given, before the gofer starts. */
  readonly copyUps: readonly CopyUp[];
  readonly devices: readonly DeviceNode[];
  /** Make the usual symlinks of /dev: not when /dev is a bind mount, whose content is the host's business. */
  readonly deviceLinks: boolean;
  /** Whose the terminal is, when there is one. */
  readonly terminal: Owner | undefined;
  /** The terminal is in the devpts that is given: only /dev/console is still to be made. */
  readonly terminalGiven?: boolean;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly workingDirectory: string;
  readonly readonlyRoot: boolean;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE of the root, and whether mounts below it start with it too. */
  readonly propagation: { readonly type: number; readonly recursive: boolean };
}

/** What planning has to know of the host, looked up beforehand so that planning itself is pure. */
export interface RootPlanInput {
  readonly spec: Spec;
  /** The bundle directory: relative bind sources start there. */
  readonly bundle: string;
  readonly layers: readonly string[];
  /** Who owns what is at an absolute host path; undefined when there is nothing. */
  readonly ownerOf: (hostPath: string) => Owner | undefined;
  readonly upper: RootPlan['upper'];
  readonly cover: boolean;
  readonly kernel: Version;
  readonly mountPoint: string;
  /** The pod's ids, or null when it has no user namespace. */
  readonly idMaps: IdMaps | null;
  /** 'directory', 'file' (a regular one), 'other', or undefined when there is nothing at an absolute host path (symlinks followed). */
  readonly kindOf: (hostPath: string) => 'directory' | 'file' | 'other' | undefined;
  /** See {@link overlayView}; for an absolute host path. */
  readonly viewOf: (hostPath: string) => OverlayView | undefined;
  readonly isTmpfs: (hostPath: string) => boolean;
  /** Writes to bind mounts do not reach the host (`--overlay2=all`). */
  readonly overlayVolumes: boolean;
  /** Where a mount has to go instead of its destination, see mountPlaces of sandbox/; undefined for nearly all. */
  readonly placeOf: (destination: string) => string | undefined;
  /** The mode of a directory of the image, by its absolute path; undefined when there is none. */
  readonly modeOf: (directory: string) => number | undefined;
  /** How the container's cgroup is shown: v1 directories, or a cgroup2 mount in the container's cgroup namespace. */
  readonly cgroup: CgroupV1View | 'v2';
}

/**
 * Turns a spec into the plan of a root filesystem. Pure: everything that can be refused is refused here, before the first
 * side effect.
 * @throws SiltError SPEC_INVALID naming the JSON path.
 */
export function planRoot(input: RootPlanInput): RootPlan {
  const { spec, idMaps } = input;
  const owner = hostOwner(idMaps, 0, 0, '$.process.user');
  const planned = (spec.mounts ?? []).map((mount, i) => planMount(mount, `$.mounts[${i}]`, input, owner));
  const { mounts, mountMaps } = nameMaps(planned);
  const copyUps = mounts.flatMap((step) =>
    step.kind === 'filesystem' && step.given !== undefined ? [{ name: step.given, step }] : [],
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

function invalid(jsonPath: string, message: string): SiltError {
  return new SiltError('SPEC_INVALID', `${jsonPath}: ${message}`, { jsonPath });
}

/** The host's ids of a user of the container. */
export function hostOwner(idMaps: IdMaps | null, uid: number, gid: number, jsonPath: string): Owner {
  if (idMaps === null) return { uid, gid };
  const hostUid = toHost(idMaps.uids, uid);
  const hostGid = toHost(idMaps.gids, gid);
  if (hostUid === undefined) throw invalid(jsonPath, `uid ${uid} is not in the pod's user namespace`);
  if (hostGid === undefined) throw invalid(jsonPath, `gid ${gid} is not in the pod's user namespace`);
  return { uid: hostUid, gid: hostGid };
}

/**
 * Whether a layer has the pod's ids on disk and not those of the image. An engine that cannot count on idmapped mounts has changed the owners of all files
 * (containerd's remapped snapshots), and of an upper of its own in any case: then the root directory is the pod's root's.
 */
export function isPodRoots(rootDirectory: Owner | undefined, podRoot: Owner): boolean {
  return rootDirectory?.uid === podRoot.uid && rootDirectory.gid === podRoot.gid;
}

/** Absolute and without `.`, `..` and double slashes. */
export function mountDestination({ destination }: Mount): string {
  return path.posix.resolve('/', destination);
}

/** The group of terminals is a matter of the devpts: its option `gid`, `tty` as a rule. Without it they are the user's. */
function terminalGroup({ mounts = [], process }: Spec): number {
  const devpts = mounts.find((mount) => mount.type === 'devpts' && mountDestination(mount) === '/dev/pts');
  const gid = devpts?.options?.map((option) => /^gid=(\d+)$/.exec(option)?.[1]).find((value) => value !== undefined);
  return gid === undefined ? (process?.user?.gid ?? 0) : Number(gid);
}

/** A bind mount whose mappings have no name yet. */
type PlannedMount = MountStep | (BindStep & { readonly maps: IdMaps });

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

function planMount(mount: Mount, jsonPath: string, input: RootPlanInput, owner: Owner): PlannedMount {
  const options = parseMountOptions(mount.options ?? []);
  const named = mountDestination(mount);
  const destination = input.placeOf(named) ?? named;
  if (options.remount) {
    const bind = options.bind || mount.type === 'bind';
    const data = bind ? [] : filesystemData({ ...mount, source: '' }, options, jsonPath, input.idMaps, undefined);
    return { kind: 'remount', destination, data, options };
  }
  if (options.bind || mount.type === 'bind') return planBind(mount, destination, options, jsonPath, input);
  if (mount.type === undefined || mount.type === '')
    throw invalid(`${jsonPath}.type`, 'a mount that is no bind mount needs a type');
  if (mount.type === 'cgroup' || mount.type === 'cgroup2') {
    if (input.cgroup !== 'v2') return { kind: 'cgroup-v1', destination, options, view: input.cgroup };
    return { kind: 'filesystem', type: 'cgroup2', destination, data: [], options, chown: undefined };
  }
  return {
    kind: 'filesystem',
    type: mount.type,
    destination,
    data: [
      ...filesystemData(mount, options, jsonPath, input.idMaps, owner),
      ...modeOfTmpfs(mount, named, options, input),
    ],
    options,
    chown: input.idMaps !== null && ROOT_OF_HOST.includes(mount.type) ? owner : undefined,
    ...(options.copyUp ? { given: `copy_up${input.spec.mounts!.indexOf(mount)}` } : {}),
  };
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

function planBind(
  mount: Mount,
  destination: string,
  options: MountOptions,
  jsonPath: string,
  input: RootPlanInput,
): PlannedMount {
  if (!mount.source) throw invalid(`${jsonPath}.source`, 'a bind mount needs a source');
  const source = path.resolve(input.bundle, mount.source);
  const kind = input.kindOf(source);
  if (kind === undefined)
    throw invalid(`${jsonPath}.source`, `there is nothing at ${source} to bind to ${destination}`);
  const overlaid = input.overlayVolumes && kind !== 'other' && isOverlaid(source, destination, options);
  if (overlaid && options.propagation.some((type) => (type & C.MS_SHARED) !== 0)) {
    const message = `${jsonPath}.options: with overlay2=all the writes to ${destination} do not reach the host, so mounts in it cannot either: shared propagation needs overlay2=root:…`;
    throw new SiltError('SPEC_UNSUPPORTED', message, { jsonPath: `${jsonPath}.options` });
  }
  const overlay = overlaid ? { overlay: `volume${jsonPath.replace(/\D+/g, '-').replace(/-$/, '')}` } : {};
  const recursive = options.idmap === 'tree' || (options.idmap === 'none' && options.recursive);
  const plain = { kind: 'bind', source, destination, directory: kind === 'directory', options, ...overlay } as const;
  const maps = mapsOfMount(mount, jsonPath, input);
  const view = maps !== undefined || input.idMaps !== null ? planView(source, options, input) : {};
  const step = { ...plain, ...view };
  if (maps !== undefined) return { ...step, idmap: { userns: '', recursive }, maps };
  const asked = options.idmap !== 'none' || (mount.uidMappings ?? []).length > 0;
  const shown = input.idMaps !== null && (asked || !isKernelFilesystem(source));
  const optional = !asked && !mapsTmpfs(input.kernel) && input.isTmpfs(source) ? { optional: true } : {};
  return { ...step, idmap: shown ? { userns: USERNS, recursive, ...optional } : null };
}

/** From Linux 6.3 on mounts of a tmpfs can be idmapped. Secrets and tokens of Kubernetes are on one in nearly every pod. */
function mapsTmpfs(kernel: Version): boolean {
  return isAtLeast(kernel, [6, 3]);
}

/**
 * What is to be said of volumes that are shown without the pod's owners; see {@link MountIdmap}. It is the stricter of both: nobody's
 * files are open to the pod as far as they are to everybody.
 */
export function unmappedVolumes({ mounts }: Pick<RootPlan, 'mounts'>): string[] {
  return mounts.flatMap((step) =>
    step.kind === 'bind' && step.idmap?.optional
      ? `the volume ${step.source} is on a tmpfs, whose owners kernels before 6.3 cannot show as a pod with a user namespace numbers them: in ${step.destination} files are nobody’s (65534); use another filesystem, or set userns = "none" in silt’s configuration`
      : [],
  );
}

/** Files of an image that is a volume, see {@link overlayView}. */
function planView(
  source: string,
  { attrSet, recursiveAttrSet }: MountOptions,
  { viewOf, ownerOf, idMaps }: RootPlanInput,
): Pick<BindStep, 'view'> {
  const view = viewOf(source);
  const readOnly = ((attrSet | recursiveAttrSet) & C.MOUNT_ATTR_RDONLY) !== 0;
  if (view === undefined || (view.upper !== undefined && !readOnly)) return {};
  const podRoot = hostOwner(idMaps, 0, 0, '$.mounts');
  const layers = view.layers.map((layer) => ({
    path: layer,
    idmap: idMaps === null || !isPodRoots(ownerOf(layer), podRoot),
  }));
  return { view: { layers, inside: view.inside } };
}

/**
 * Would writes reach files of the host's? What is bound below /dev is the pod's shared memory, a device, or the file for the message
 * that the kubelet reads when a container has ended.
 */
function isOverlaid(source: string, destination: string, { attrSet, recursiveAttrSet }: MountOptions): boolean {
  const readOnly = ((attrSet | recursiveAttrSet) & C.MOUNT_ATTR_RDONLY) !== 0;
  return !readOnly && !isKernelFilesystem(source) && !destination.startsWith('/dev/');
}

/**
 * The mappings that a mount has of its own, as the host numbers ids; undefined when they are the pod's, or there are none. Whoever
 * wrote a spec without a user namespace does not know of the one that silt chose: what are the host's ids to that spec are the
 * container's.
 */
function mapsOfMount(mount: Mount, jsonPath: string, { spec, idMaps }: RootPlanInput): IdMaps | undefined {
  const { uidMappings = [], gidMappings = [] } = mount;
  if (uidMappings.length === 0 || gidMappings.length === 0) return undefined;
  const chosenBySilt = !spec.linux?.namespaces?.some(({ type }) => type === 'user');
  const translate = (ranges: readonly IdRange[], ofPod: readonly IdRange[], key: string): readonly IdRange[] => {
    const found = rangesToHost(ranges, ofPod);
    if (found !== undefined) return found;
    throw invalid(`${jsonPath}.${key}`, 'has host ids that are not in the user namespace of the container');
  };
  const maps =
    idMaps !== null && chosenBySilt
      ? {
          uids: translate(uidMappings, idMaps.uids, 'uidMappings'),
          gids: translate(gidMappings, idMaps.gids, 'gidMappings'),
        }
      : { uids: uidMappings, gids: gidMappings };
  return idMaps !== null && sameMaps(maps, idMaps) ? undefined : maps;
}

/** /proc, /sys and /dev of the host cannot be idmapped, and nobody expects their owners to be translated. */
function isKernelFilesystem(source: string): boolean {
  return ['/proc', '/sys', '/dev'].some((top) => source === top || source.startsWith(`${top}/`));
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
