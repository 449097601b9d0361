import type { IdMapping, Spec } from './spec';
import type { Namespace } from './spec-linux';
import { SPEC_VERSION } from './version';

/** What may differ in the spec that a bundle starts with. */
export interface DefaultSpecChoices {
  /** The host has cgroups of version 2 alone: the container gets a cgroup namespace. */
  readonly unified: boolean;
  /** A user namespace in which root is this user, as `runc spec --rootless` writes. */
  readonly rootless?: { readonly uid: number; readonly gid: number };
  readonly args?: readonly string[];
  readonly cwd?: string;
  /** Path of a network namespace to join. */
  readonly netns?: string;
}

const CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'];

/** What `runc spec` writes, member by member in its order, for people to edit. Pure. */
export function defaultSpec({ unified, rootless, args, cwd, netns }: DefaultSpecChoices): Spec {
  const types: Namespace['type'][] = ['pid', ...(rootless ? [] : ['network' as const]), 'ipc', 'uts', 'mount'];
  if (unified) types.push('cgroup');
  if (rootless) types.push('user');
  const namespaces = types.map((type) => (type === 'network' && netns ? { type, path: netns } : { type }));
  const map = (hostID: number): IdMapping[] => [{ containerID: 0, hostID, size: 1 }];
  return {
    ociVersion: SPEC_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: args && args.length > 0 ? args : ['sh'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: cwd ?? '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'silt',
    mounts: mounts(rootless !== undefined),
    linux: {
      ...(rootless
        ? { uidMappings: map(rootless.uid), gidMappings: map(rootless.gid) }
        : { resources: { devices: [{ allow: false, access: 'rwm' }] } }),
      namespaces,
      maskedPaths: [
        '/proc/acpi',
        '/proc/asound',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/proc/sched_debug',
        '/sys/firmware',
        '/proc/scsi',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

function mounts(rootless: boolean): NonNullable<Spec['mounts']> {
  const locked = ['nosuid', 'noexec', 'nodev'];
  // Group 5 is not in the map of a rootless container, and its network namespace, whose sysfs this would be, is the host's.
  const terminals = ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', ...(rootless ? [] : ['gid=5'])];
  const sys = rootless
    ? { destination: '/sys', type: 'none', source: '/sys', options: ['rbind', ...locked, 'ro'] }
    : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...locked, 'ro'] };
  return [
    { destination: '/proc', type: 'proc', source: 'proc' },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: terminals },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...locked, 'mode=1777', 'size=65536k'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: locked },
    sys,
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...locked, 'relatime', 'ro'] },
  ];
}
