import { defaultSpec, type Mount, type Spec } from '../oci';

export interface ThrowAway {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  /** Host directory that is the root: its files are seen, and never written. */
  readonly root: string;
  /** `SOURCE[:DESTINATION]`, writable. */
  readonly volumes: readonly string[];
  readonly terminal: boolean;
  readonly hostname: string;
  /** Whether it has the host's network, or none. */
  readonly hostNetwork: boolean;
  readonly unified: boolean;
  /** Text of /proc/self/mountinfo. */
  readonly mountinfo: string;
}

/** As containerd and Docker give them to a container that asks for nothing. */
const CAPABILITIES = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP'],
  ...['NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE'],
].map((name) => `CAP_${name}`);

/** Filesystems with somebody's files, as against those that the kernel makes up. */
const WITH_FILES = new Set([
  'ext2',
  'ext3',
  'ext4',
  'xfs',
  'btrfs',
  'f2fs',
  'zfs',
  'nfs',
  'nfs4',
  'tmpfs',
  'erofs',
  'squashfs',
  'virtiofs',
  '9p',
  'vfat',
]);
/** Where a container has its own, and where engines keep other containers'. */
const LEFT_OUT = /^\/(proc|sys|dev|run|var\/lib\/(docker|containerd|kubelet))(\/|$)/;

/** The spec of `silt do`: the host's files with a writable layer over them that is thrown away. Pure. */
export function throwAwaySpec(wanted: ThrowAway): Spec {
  const { args, env, cwd, root, terminal, hostname, hostNetwork, unified } = wanted;
  const base = defaultSpec({ unified, args, cwd });
  const namespaces = base.linux!.namespaces!.filter(({ type }) => type !== 'network' || !hostNetwork);
  return {
    ...base,
    process: {
      ...base.process!,
      terminal,
      env,
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [],
      noNewPrivileges: false,
    },
    root: { path: root, readonly: false },
    hostname,
    mounts: [
      ...base.mounts!,
      ...(root === '/' ? otherFilesystems(wanted.mountinfo) : []),
      ...wanted.volumes.map(volume),
    ],
    linux: { ...base.linux, namespaces },
  };
}

/** The host's filesystems below its root: an overlay has only the one that its layer is on. */
function otherFilesystems(mountinfo: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const escaped = left.split(' ')[4] ?? '';
    const point = escaped.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
    if (point === '' || point === '/' || LEFT_OUT.test(point) || !WITH_FILES.has(right.split(' ')[0]!)) continue;
    mounts.push({ destination: point, type: 'bind', source: point, options: ['bind', 'ro'] });
  }
  return mounts;
}

function volume(text: string): Mount {
  const colon = text.indexOf(':');
  const source = colon < 0 ? text : text.slice(0, colon);
  const destination = colon < 0 ? text : text.slice(colon + 1);
  return { destination, type: 'bind', source, options: ['rbind', 'rw'] };
}
