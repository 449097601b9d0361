/** What the kernel offers. */
import { isAtLeast, parseVersion, type Version } from '../../syscall';
import type { Finding } from './finding';
import type { HostView } from './host-view';

/** The oldest that silt is tried with, `make vm-test`. */
const LEAST_KERNEL = [6, 1] as const;
/** What silt can do without, by the kernel that brought it; see docs/kernels.md. */
const LATER: readonly (readonly [since: Version, without: string])[] = [
  [[6, 3], 'files of volumes on a tmpfs are nobody’s in pods with a user namespace'],
  [[6, 6], 'attributes user.* of a seed or of files cannot be kept in memory (overlay2 = "root:self" can)'],
];

export function checkKernel(host: HostView): Finding[] {
  return [
    kernelVersion(host),
    architecture(host),
    user(host),
    filesystem(host, 'overlay', { needed: true, todo: 'modprobe overlay, or a kernel with CONFIG_OVERLAY_FS' }),
    filesystem(host, 'erofs', { needed: false, todo: 'root filesystems as EROFS images need it (modprobe erofs)' }),
    userNamespaces(host),
    idmappedMounts(host),
    seccomp(host),
    cpuidFaulting(host),
  ];
}

function kernelVersion({ kernelRelease }: HostView): Finding {
  const feature = 'kernel';
  const found = `Linux ${kernelRelease}`;
  const version = parseVersion(kernelRelease);
  if (!isAtLeast(version, LEAST_KERNEL))
    return { feature, status: 'missing', found, todo: `boot Linux ${LEAST_KERNEL.join('.')} or later` };
  const lacking = LATER.filter(([since]) => !isAtLeast(version, since));
  if (lacking.length === 0) return { feature, status: 'ok', found };
  const todo = lacking.map(([since, without]) => `before ${since.join('.')} ${without}`).join('; ');
  return { feature, status: 'limited', found, todo };
}

function architecture({ architecture: found }: HostView): Finding {
  const known = found === 'x64' || found === 'arm64';
  return {
    feature: 'architecture',
    found,
    ...(known ? { status: 'ok' } : { status: 'missing', todo: 'silt knows x86_64 and aarch64' }),
  };
}

const CAP_SYS_RESOURCE = 24n;
const CAP_SYS_ADMIN = 21n;

/** Root, and root that may what root may: in a container it often may not. */
function user(host: HostView): Finding {
  const bounding = /^CapBnd:\s*([0-9a-f]+)/m.exec(host.read('/proc/self/status') ?? '')?.[1] ?? '0';
  const has = (capability: bigint): boolean => ((BigInt(`0x${bounding}`) >> capability) & 1n) === 1n;
  const feature = 'root';
  if (host.uid !== 0)
    return { feature, status: 'missing', found: `uid ${host.uid}`, todo: 'silt and containerd need root' };
  if (!has(CAP_SYS_ADMIN))
    return { feature, status: 'missing', found: 'root without CAP_SYS_ADMIN', todo: 'run it outside of the container' };
  if (has(CAP_SYS_RESOURCE)) return { feature, status: 'ok', found: 'all that is needed' };
  const todo =
    'oom scores cannot be lowered nor hard limits raised: with CRI set restrict_oom_score_adj = true in containerd’s configuration';
  return { feature, status: 'limited', found: 'root without CAP_SYS_RESOURCE', todo };
}

/** In /proc/filesystems, or as a module that the kernel loads when it is asked for. */
function filesystem(host: HostView, name: string, { needed, todo }: { needed: boolean; todo: string }): Finding {
  const feature = name === 'overlay' ? 'overlayfs' : name;
  if (new RegExp(`\\b${name}$`, 'm').test(host.read('/proc/filesystems') ?? ''))
    return { feature, status: 'ok', found: 'in the kernel' };
  const modules = `/lib/modules/${host.kernelRelease}`;
  const listed = ['modules.dep', 'modules.builtin'].map((file) => host.read(`${modules}/${file}`) ?? '').join('\n');
  if (new RegExp(`/${name}\\.ko`).test(listed)) return { feature, status: 'ok', found: 'as a module' };
  return { feature, status: needed ? 'missing' : 'absent', found: 'not in this kernel', todo };
}

function userNamespaces(host: HostView): Finding {
  const feature = 'user namespaces';
  const most = Number(host.read('/proc/sys/user/max_user_namespaces') ?? 0);
  if (host.exists('/proc/self/ns/user') && most > 0) return { feature, status: 'ok', found: `up to ${most}` };
  const todo = 'userns = "auto", seeds and snapshots need them: sysctl user.max_user_namespaces=15000';
  return {
    feature,
    status: 'missing',
    found: most === 0 ? 'user.max_user_namespaces is 0' : 'not in this kernel',
    todo,
  };
}

/** statfs(2) types of filesystems whose mounts can be idmapped, with the kernel that brought it. */
const IDMAPPABLE: ReadonlyMap<number, readonly [name: string, since: readonly [number, number]]> = new Map([
  [0xef53, ['ext4', [5, 12]]],
  [0x58465342, ['xfs', [5, 12]]],
  [0x9123683e, ['btrfs', [5, 15]]],
  [0xf2f52010, ['f2fs', [5, 18]]],
  [0x01021994, ['tmpfs', [6, 3]]],
  [0xe0f5e1e2, ['erofs', [5, 19]]],
]);
const IMAGES = '/var/lib/containerd';

/** What pods with a user namespace need where containerd keeps its layers. */
function idmappedMounts(host: HostView): Finding {
  const feature = 'idmapped mounts';
  const type = host.filesystemType(IMAGES);
  if (type === undefined) return { feature, status: 'ok', found: `in the kernel; there is no ${IMAGES} to look at` };
  const [name, since] = IDMAPPABLE.get(type) ?? [];
  if (since && isAtLeast(parseVersion(host.kernelRelease), since))
    return { feature, status: 'ok', found: `${IMAGES} is on ${name}` };
  const found = `${IMAGES} is on ${name ?? `a filesystem of type 0x${type.toString(16)}`}, which cannot have them`;
  return {
    feature,
    status: 'limited',
    found,
    todo: 'for userns = "auto" keep containerd’s root on ext4, xfs or btrfs',
  };
}

function seccomp(host: HostView): Finding {
  const actions =
    host
      .read('/proc/sys/kernel/seccomp/actions_avail')
      ?.split(' ')
      .filter((name) => name !== '') ?? [];
  if (actions.length === 0)
    return {
      feature: 'seccomp',
      status: 'missing',
      found: 'not in this kernel',
      todo: 'a kernel with CONFIG_SECCOMP_FILTER',
    };
  const lacking = ['errno', 'kill_process', 'log', 'trap', 'user_notif'].filter((name) => !actions.includes(name));
  if (lacking.length === 0) return { feature: 'seccomp', status: 'ok', found: actions.join(' ') };
  return {
    feature: 'seccomp',
    status: 'limited',
    found: actions.join(' '),
    todo: `profiles cannot use ${lacking.join(', ')}`,
  };
}

function cpuidFaulting(host: HostView): Finding {
  const feature = 'CPUID faulting';
  const flags = /^flags\s*:(.*)$/m.exec(host.read('/proc/cpuinfo') ?? '')?.[1]?.split(' ') ?? [];
  if (flags.includes('cpuid_fault')) return { feature, status: 'ok', found: 'cpuid_fault in /proc/cpuinfo' };
  const todo =
    'the annotation dev.gvisor.internal.cpufeatures needs it; Intel CPUs since Ivy Bridge have it, and virtual machines often not';
  return { feature, status: 'absent', found: 'this CPU has none', todo };
}
