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

/**
 * What a container asks for, beyond what every container gets, that a user namespace would make powerless: names of capabilities.
 * @param foreignNetwork whether its network belongs to a user namespace above
 */
export function hostPowers({ process }: Spec, foreignNetwork: boolean): string[] {
  const asked = new Set(CAPABILITY_SETS.flatMap((set) => process?.capabilities?.[set] ?? []));
  return [...HOSTS, ...(foreignNetwork ? NETWORKS : [])].filter((name) => asked.has(name));
}
