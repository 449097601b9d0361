import { CAPABILITY_SETS } from './capabilities';
import type { Spec } from './spec';

/**
 * Capabilities that the kernel asks of the initial user namespace (`capable()`, Linux 6.18), and so are of no use in another one. Not
 * those that engines give to every container (CAP_MKNOD, CAP_AUDIT_WRITE, CAP_NET_RAW): nobody has asked for them.
 */
const HOSTS = [
  'CAP_LINUX_IMMUTABLE',
  'CAP_IPC_LOCK',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_PACCT',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_AUDIT_CONTROL',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
];
/** Over the network that it is in; power over one needs the user namespace that it belongs to, or one above. */
const NETWORKS = ['CAP_NET_ADMIN'];

/** Ids of a user namespace that nobody has described: what a system of its own has, up to nobody's. */
const IDS = 65536;

/**
 * Capabilities that a container asks for, beyond what every container gets, and that a user namespace makes powerless.
 * @param foreignNetwork whether its network belongs to a user namespace above
 */
export function powersOverHost({ process }: Spec, foreignNetwork: boolean): string[] {
  const asked = new Set(CAPABILITY_SETS.flatMap((set) => process?.capabilities?.[set] ?? []));
  return [...HOSTS, ...(foreignNetwork ? NETWORKS : [])].filter((name) => asked.has(name));
}

/**
 * What a container asks for that the user namespace which silt would choose has not, as ends of a sentence about that: powers over the host,
 * and ids of mounts that do not exist there. Only what the engine says counts, not what it may have from an image: a user and its groups are
 * often the image's (`USER`, /etc/group), and that would choose to be without a user namespace.
 */
export function hostNeeds(spec: Spec, foreignNetwork: boolean): string[] {
  const powers = powersOverHost(spec, foreignNetwork);
  return [
    ...(powers.length > 0 ? [`${powers.join(', ')} would have no power`] : []),
    ...realTime(spec).map((name) => `${name} would not be permitted`),
    ...idsAskedFor(spec).flatMap(([jsonPath, id]) => (id >= IDS ? [`there would be no id ${id} (${jsonPath})`] : [])),
  ];
}

/** What of the scheduling only CAP_SYS_NICE of the host gives (sched(7), ioprio_set(2)). */
function realTime({ process }: Spec): string[] {
  const { policy = 'SCHED_OTHER', nice = 0 } = process?.scheduler ?? {};
  const asked = ['SCHED_FIFO', 'SCHED_RR', 'SCHED_DEADLINE'].includes(policy) ? policy : nice < 0 ? `nice ${nice}` : '';
  return [asked, process?.ioPriority?.class ?? ''].filter(
    (name) => name !== '' && !UNPRIVILEGED_CLASSES.includes(name),
  );
}

const UNPRIVILEGED_CLASSES = ['IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE', 'IOPRIO_CLASS_NONE'];

/** The highest id of each mount, as numbers of a spec that knows no user namespace. */
function idsAskedFor({ mounts = [] }: Spec): [jsonPath: string, id: number][] {
  return mounts.map(({ uidMappings = [], gidMappings = [], options = [] }, i): [string, number] => {
    const mapped = [...uidMappings, ...gidMappings].map(({ hostID, size }) => hostID + size - 1);
    const owners = options.map((option) => Number(/^[ug]id=(\d+)$/.exec(option)?.[1] ?? 0));
    return [`$.mounts[${i}]`, Math.max(0, ...mapped, ...owners)];
  });
}
