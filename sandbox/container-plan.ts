import { SiltError } from '../errors';
import { type IdMaps, planRoot, type RootPlanInput } from '../gofer';
import type { Spec } from '../oci';
import { type Cgroup, type CgroupPlan, describeInsideView, joinFiles, planCgroup } from './cgroup';
import type { PodNamespaces } from './pod';
import { planProcess } from './process-plan';
import type { LaunchPlan, PidMode } from './programs/launch';
import type { Workshop } from './workshop';

/** What a container is created from, apart from its pod. */
export interface ContainerRequest {
  readonly id: string;
  readonly bundle: string;
  readonly spec: Spec;
  /** Read-only layers of the root filesystem, the topmost first, as absolute host paths. */
  readonly layers: readonly string[];
  /** Host path of the archive that the upper starts from, already allowed. */
  readonly seed: string | undefined;
  /** Fds for the process, by the names in STDIO; none when it has a terminal. Borrowed. */
  readonly stdio: Readonly<Record<string, number>>;
  /** Called with the pty's master, which it then owns. */
  readonly onTerminal: (master: number) => void;
}

/** Everything about one container that is decided before the first side effect. */
export interface ContainerPlan {
  readonly cgroup: CgroupPlan;
  readonly launch: LaunchPlan;
}

/**
 * Plans a container: pure but for looking at the host.
 * @throws SiltError for everything in the spec that can be refused beforehand.
 */
export function planContainer(
  workshop: Workshop,
  pod: { readonly idMaps: IdMaps | null; readonly namespaces: PodNamespaces },
  request: Pick<ContainerRequest, 'id' | 'bundle' | 'spec' | 'layers'>,
  mountPoint: string,
  /** The layer of the container's seed, above those of the image. */
  seedLayer?: string,
): ContainerPlan {
  const { host } = workshop;
  const { spec } = request;
  const cgroup = planCgroup({
    id: request.id,
    cgroupsPath: spec.linux?.cgroupsPath,
    resources: spec.linux?.resources,
    hierarchies: host.hierarchies,
  });
  const cgroupNamespace = hasOwn(spec, 'cgroup');
  const root = planRoot({
    spec,
    bundle: request.bundle,
    layers: seedLayer === undefined ? request.layers : [seedLayer, ...request.layers],
    mountPoint,
    idMaps: pod.idMaps,
    kindOf: (path) => host.kindOf(path),
    cgroup: insideView(cgroup.cgroup),
  });
  const process = spec.process;
  if (!process)
    throw new SiltError('SPEC_INVALID', '$.process: a container needs a process', { jsonPath: '$.process' });
  const launch: LaunchPlan = {
    id: request.id,
    pid: pidMode(spec),
    userns: pod.idMaps !== null,
    cgroupNamespace,
    join: pod.namespaces,
    cgroupFiles: joinFiles(cgroup.cgroup),
    root,
    process: planProcess(workshop, spec, process, { layers: request.layers }),
  };
  return { cgroup, launch };
}

function insideView(cgroup: Cgroup): RootPlanInput['cgroup'] {
  if (cgroup.mode === 'v2') return 'v2';
  const { binds, links } = describeInsideView(cgroup);
  return { directories: binds.map(({ source, name }) => ({ name, hostPath: source })), links };
}

function hasOwn(spec: Spec, type: string): boolean {
  return (spec.linux?.namespaces ?? []).some((namespace) => namespace.type === type && !namespace.path);
}

function pidMode(spec: Spec): PidMode {
  const namespace = (spec.linux?.namespaces ?? []).find(({ type }) => type === 'pid');
  if (!namespace) return 'host';
  return namespace.path ? 'pod' : 'container';
}
