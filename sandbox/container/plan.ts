import { dirname, join, resolve } from 'node:path';
import { SiltError } from '../../errors';
import {
  type BindStep,
  type EngineRoot,
  hostOwner,
  type IdMaps,
  mountDestination,
  type MountStep,
  pathBelow,
  planRoot,
  type RootPlanInput,
} from '../../gofer';
import { parseMountOptions, type Spec } from '../../oci';
import { C } from '../../syscall';
import { type Cgroup, cgroupEntry, describeInsideView } from '../cgroup';
import type { CheckpointImage } from '../checkpoint';
import { type ContainerCgroupPlan, planContainerCgroup } from './cgroup';
import { containerIdMaps, refuseForeignUser } from '../pod/container-ids';
import { CPUINFO, type CpuView, planCpuView } from '../cpuid';
import { checkMountLabel } from '../exec/exec-labels';
import { namespaceSource, pidMode } from '../exec/exec-plan';
import { withFlagAnnotations } from '../config/flag-annotations';
import { refuseAnnotations } from '../config/gvisor-annotations';
import type { Host } from '../host';
import { Hooks } from './hooks';
import { ImageView } from '../mounts/image-view';
import { mountPlaces, refuseLinkedViews } from '../mounts/places';
import type { PodTraits } from '../pod/pod';
import type { Lifetime } from '../process/process';
import { planProcess, type ProcessExtras } from '../exec/process-plan';
import type { LaunchPlan } from '../programs/launch';
import type { OwnNamespaces } from '../programs/own-namespaces';
import { needsCover, planUpper, type UpperPlan, upperNames } from './upper';
import type { Config } from '../config/config';
import type { Workshop } from '../workshop';

/** What a container is created from, apart from its pod. */
export interface ContainerRequest {
  readonly id: string;
  readonly bundle: string;
  readonly spec: Spec;
  /** What the engine gave as root filesystem. */
  readonly rootfs: EngineRoot;
  /** Host path of the archive that the upper starts from, already allowed. */
  readonly seed: string | undefined;
  /** What the container goes on from, instead of running its program from the beginning. */
  readonly checkpoint?: CheckpointImage | undefined;
  /** Where the caller wants the log of that. */
  readonly workPath?: string | undefined;
  /** Fds for the process, by the names in STDIO; none when it has a terminal. Borrowed. */
  readonly stdio: Readonly<Record<string, number>>;
  /** Called with the pty's master, which it then owns. */
  readonly onTerminal: (master: number) => void;
  /** `with-caller` unless told. A container that lives on its own is started through its state directory. */
  readonly lifetime?: Lifetime;
  readonly extras?: ProcessExtras;
  /** Around each hook, see {@link Hooks}. */
  readonly aroundHooks?: <T>(wait: () => Promise<T>) => Promise<T>;
  /** Where the spec mounts a tmpfs that all containers of the pod are to share. */
  readonly sharedMemory?: string | undefined;
  /** Mounts that the spec does not list. */
  readonly ownMounts?: readonly BindStep[];
}

/** Everything about one container that is decided before the first side effect. */
export interface ContainerPlan {
  /** The container's ids, or null when they are the host's. */
  readonly idMaps: IdMaps | null;
  readonly upper: UpperPlan;
  readonly cgroup: ContainerCgroupPlan;
  /** What its programs are shown of the CPU; undefined for all. */
  readonly cpu: CpuView | undefined;
  readonly launch: LaunchPlan;
}

/** Where the container's writes go. @throws SiltError, see planUpper. */
export function planContainerUpper(
  { config }: Workshop,
  request: Pick<ContainerRequest, 'id' | 'spec' | 'rootfs'>,
): UpperPlan {
  return planUpper(request, configOf({ config }, request.spec));
}

function configOf({ config }: Pick<Workshop, 'config'>, { annotations = {} }: ContainerRequest['spec']): Config {
  return withFlagAnnotations(config, annotations);
}

/**
 * Plans a container: pure but for looking at the host.
 * @throws SiltError for everything in the spec that can be refused beforehand.
 */
export function planContainer(
  workshop: Workshop,
  pod: Pick<PodTraits, 'idMaps' | 'namespaces'>,
  request: Pick<
    ContainerRequest,
    'id' | 'bundle' | 'spec' | 'rootfs' | 'lifetime' | 'extras' | 'ownMounts' | 'sharedMemory'
  >,
  mountPoint: string,
  /** The layer of the container's seed, above those of the image. */
  seedLayer?: string,
): ContainerPlan {
  const { host } = workshop;
  const { rootfs } = request;
  const shown = shownRoot(host, request.spec, request.bundle);
  const spec = shown === undefined ? request.spec : withDestinationsInside(request.spec, request.bundle, shown);
  refuseAnnotations(spec.annotations ?? {});
  const upper = planContainerUpper(workshop, request);
  const { layers } = rootfs;
  const idMaps = containerIdMaps(pod, spec);
  const cgroup = planContainerCgroup(host, workshop.config, request);
  const below = [...(seedLayer === undefined ? [] : [seedLayer]), ...layersBelow(upper, rootfs)];
  refuseLinkedViews(below, spec.mounts ?? []);
  const places = mountPlaces(workshop.kernel, below, (spec.mounts ?? []).map(mountDestination));
  const view = new ImageView(workshop.kernel, below);
  const root = planRoot({
    spec,
    bundle: request.bundle,
    layers: below,
    placeOf: (destination) => places.get(destination),
    upper: upperNames(upper),
    cover: needsCover(upper, rootfs),
    kernel: workshop.kernel.version,
    mountPoint: shown ?? mountPoint,
    idMaps,
    kindOf: (path) => host.kindOf(path),
    viewOf: (path) => host.viewOf(path),
    isTmpfs: (path) => host.isTmpfs(path),
    ownerOf: (path) => host.ownerOf(path),
    overlayVolumes: configOf(workshop, spec).overlay.scope === 'all',
    modeOf: (path) => view.modeOf(path),
    sharedMemory: request.sharedMemory,
    cgroup: insideView(cgroup.cgroup),
  });
  view.close();
  const cpu = planCpuView(spec.annotations ?? {}, () => host.cpuinfo);
  checkMountLabel(spec, host);
  const ownMounts = [...(cpu ? cpuinfoMount(spec, mountPoint) : []), ...(request.ownMounts ?? [])];
  const process = spec.process;
  if (!process)
    throw new SiltError('SPEC_INVALID', '$.process: a container needs a process', { jsonPath: '$.process' });
  refuseForeignUser(idMaps, spec, process);
  const own = ownNamespaces(spec);
  const launch: LaunchPlan = {
    id: request.id,
    pid: idMaps === null && pod.idMaps !== null && pidMode(spec) === 'container' ? 'apart' : pidMode(spec),
    userns: idMaps !== null,
    podRoot: hostOwner(pod.idMaps, 0, 0, '$.linux.uidMappings'),
    gate: request.lifetime === 'of-its-own' ? 'socket' : 'pipe',
    own,
    join: pod.namespaces,
    hooks: new Hooks(workshop.kernel, request).beforePivot,
    cgroup: cgroupEntry(cgroup.cgroup),
    ownCapabilities: host.ownCapabilities,
    root: { ...root, mounts: [...root.mounts, ...ownMounts].map(own.mount === 'host' ? cloneable : (step) => step) },
    process: planProcess(workshop, spec, process, { layers, userns: idMaps !== null, ...request.extras }),
  };
  return { idMaps, upper, cgroup, cpu, launch };
}

/** Without a mount namespace of its own a container gets a clone of the tree, in which unbindable mounts would be missing (open_tree(2)). */
function cloneable(step: MountStep): MountStep {
  const { options } = step;
  const propagation = options.propagation.map((type) =>
    (type & ~C.MS_REC) === C.MS_UNBINDABLE ? C.MS_PRIVATE | (type & C.MS_REC) : type,
  );
  return { ...step, options: { ...options, propagation } };
}

function ownNamespaces(spec: Spec): OwnNamespaces {
  const offsets = Object.entries(spec.linux?.timeOffsets ?? {});
  return {
    mount: namespaceSource(spec, 'mount'),
    cgroup: namespaceSource(spec, 'cgroup'),
    time: namespaceSource(spec, 'time'),
    timeOffsets: offsets.map(([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}`),
  };
}

/** A /proc/cpuinfo of the container's own, if it has a /proc. */
function cpuinfoMount(spec: Spec, mountPoint: string): BindStep[] {
  if (!(spec.mounts ?? []).some((mount) => mountDestination(mount) === '/proc')) return [];
  return [
    {
      kind: 'bind',
      source: cpuinfoFile(dirname(mountPoint)),
      destination: CPUINFO,
      directory: false,
      options: parseMountOptions(['bind', 'ro', 'nosuid', 'nodev', 'noexec']),
      idmap: null,
    },
  ];
}

/** Where a container's /proc/cpuinfo lies, in the directory of its state. */
export function cpuinfoFile(directory: string): string {
  return join(directory, 'cpuinfo');
}

/** What is below the upper: not the engine's own when that is the upper; without one, the whole. */
function layersBelow(upper: UpperPlan, { layers, own }: EngineRoot): readonly string[] {
  if (upper.kind === 'none') return [own!.upper];
  return upper.kind === 'engine' ? layers.slice(1) : layers;
}

/**
 * Where the spec says that the root filesystem is, when there is such a directory: in its own mount namespace the gofer builds it
 * there, for hooks to find. On the root directory itself nothing can be mounted that a path would then find.
 */
function shownRoot(host: Host, spec: Spec, bundle: string): string | undefined {
  const path = spec.root && host.realDirectory(resolve(bundle, spec.root.path));
  return path === '/' ? undefined : path;
}

/** A destination may be given as the path on the host that leads to it, as runc has it. */
function withDestinationsInside(spec: Spec, bundle: string, root: string): Spec {
  const written = resolve(bundle, spec.root!.path);
  const mounts = spec.mounts?.map((mount) => {
    const destination = pathBelow(root, mount.destination) ?? pathBelow(written, mount.destination);
    return destination === undefined ? mount : { ...mount, destination };
  });
  return mounts ? { ...spec, mounts } : spec;
}

function insideView(cgroup: Cgroup): RootPlanInput['cgroup'] {
  if (cgroup.mode === 'v2') return 'v2';
  const { binds, links } = describeInsideView(cgroup);
  return { directories: binds.map(({ source, name }) => ({ name, hostPath: source })), links };
}
