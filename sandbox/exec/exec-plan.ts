import { checkMountPower, type NamespaceType, type Process as ProcessSpec, type Spec } from '../../oci';
import { type Cgroup, execEntry } from '../cgroup';
import { containerIdMaps, refuseForeignUser } from '../pod/container-ids';
import { type CpuView, planCpuView } from '../cpuid';
import type { PodTraits } from '../pod/pod';
import { planProcess, type ProcessExtras, type ProcessSurroundings } from './process-plan';
import type { EnterPlan } from '../programs/enter';
import type { PidMode } from '../programs/launch';
import type { NamespaceSource } from '../programs/sandbox';

export interface ExecPlan extends EnterPlan {
  /** What its programs are shown of the CPU; undefined for all. */
  readonly cpu: CpuView | undefined;
}

/** What an exec has to know of the container that it enters. */
export interface ExecTarget {
  readonly spec: Spec;
  readonly cgroup: Cgroup;
  readonly init: { readonly pid: number };
  readonly pod: Pick<PodTraits, 'idMaps' | 'namespaces'>;
}

/** What a further process has that its spec does not say. */
export interface ExecExtras extends ProcessExtras {
  /** Cgroups beneath the container's own that it goes to, as `exec --cgroup` takes them. */
  readonly cgroups?: readonly string[];
}

/**
 * Plans a further process of a container.
 * @param layers where the user's home is looked up: layers of the root filesystem, or the filesystem itself
 * @throws SiltError for what this host cannot do.
 */
export function planExec(
  surroundings: ProcessSurroundings,
  { spec, cgroup, pod, init }: ExecTarget,
  process: ProcessSpec,
  layers: readonly string[],
  { cgroups = [], ...extras }: ExecExtras = {},
): ExecPlan {
  const idMaps = containerIdMaps(pod, spec);
  refuseForeignUser(idMaps, spec, process);
  const userns = idMaps !== null;
  const chroot = namespaceSource(spec, 'mount') === 'host';
  if (chroot) checkMountPower(process, '$.process');
  return {
    cpu: planCpuView(spec.annotations ?? {}, () => surroundings.host.cpuinfo),
    namespaces: namespacesOf(spec, pod),
    chroot,
    cgroup: execEntry(cgroup, cgroups, init.pid),
    process: planProcess(surroundings, spec, process, { layers, userns, ...extras }),
  };
}

/** The namespaces that whoever enters a container has to enter, as CLONE_NEW* names. Those that it shares with the host are left out. */
export function namespacesOf(spec: Spec, pod: ExecTarget['pod']): string[] {
  const { namespaces } = pod;
  const wanted: Readonly<Record<string, boolean>> = {
    CLONE_NEWUSER: containerIdMaps(pod, spec) !== null,
    CLONE_NEWNS: namespaceSource(spec, 'mount') !== 'host',
    CLONE_NEWPID: pidMode(spec) !== 'host',
    CLONE_NEWNET: namespaces.network,
    CLONE_NEWIPC: namespaces.ipc,
    CLONE_NEWUTS: namespaces.uts,
    CLONE_NEWCGROUP: namespaceSource(spec, 'cgroup') !== 'host',
    CLONE_NEWTIME: namespaceSource(spec, 'time') !== 'host',
  };
  return Object.keys(wanted).filter((name) => wanted[name]);
}

/** Where the spec has a namespace of this type from. */
export function namespaceSource(spec: Spec, type: NamespaceType): NamespaceSource {
  const namespace = spec.linux?.namespaces?.find((one) => one.type === type);
  if (!namespace) return 'host';
  return namespace.path ? 'joined' : 'new';
}

/** Which pid namespace the spec asks for. */
export function pidMode(spec: Spec): PidMode {
  const modes = { host: 'host', joined: 'pod', new: 'container' } as const;
  return modes[namespaceSource(spec, 'pid')];
}
