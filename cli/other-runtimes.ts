/** Whether a flag stands alone or is followed by a value. */
export type FlagKind = 'switch' | 'value';

/**
 * Global flags of runsc (of gVisor's config/flags.go in August 2026 and of release 20221219) that mean nothing here: they choose among
 * gVisor's own parts, or trace and profile them. They are accepted, so that a configuration written for runsc keeps working, with a
 * line in the debug log. docs/compatibility.md says of each why.
 */
export const flagsOfOthers: Readonly<Record<string, FlagKind>> = {
  'allow-connected-on-save': 'switch',
  'allow-live-tcp-migration': 'switch',
  'allow-packet-socket-write': 'switch',
  'allow-rootfs-tar-annotation': 'switch',
  'allow-suid': 'switch',
  'app-huge-pages': 'switch',
  'buffer-pooling': 'switch',
  cgroupfs: 'switch',
  'character-device-policy': 'value',
  'control-rpc-stop-timeout': 'value',
  'coverage-fd': 'value',
  'coverage-report': 'value',
  'cpu-num-from-quota': 'switch',
  dcache: 'value',
  'debug-command': 'value',
  'debug-log-fd': 'value',
  'debug-to-user-log': 'switch',
  directfs: 'switch',
  'enable-core-tags': 'switch',
  'EXPERIMENTAL-afxdp': 'switch',
  'EXPERIMENTAL-xdp': 'value',
  'EXPERIMENTAL-xdp-need-wakeup': 'switch',
  fdlimit: 'value',
  'final-metrics-log': 'value',
  'fsgofer-host-uds': 'switch',
  fuse: 'switch',
  'gofer-network-namespace': 'value',
  gso: 'switch',
  'gvisor-gro': 'switch',
  'gvisor-marker-file': 'switch',
  'host-fifo': 'value',
  'host-settings': 'value',
  'host-uds': 'value',
  iouring: 'switch',
  'kvm-use-cpu-nums': 'switch',
  lisafs: 'switch',
  'log-fd': 'value',
  'log-packets': 'switch',
  'metric-server': 'value',
  'mount-cgroup-v2': 'switch',
  'net-disconnect-ok': 'switch',
  'net-raw': 'switch',
  'network-processors-per-channel': 'value',
  'num-network-channels': 'value',
  nvproxy: 'switch',
  'nvproxy-allow-unsupported-driver': 'switch',
  'nvproxy-allowed-driver-capabilities': 'value',
  'nvproxy-docker': 'switch',
  'nvproxy-driver-version': 'value',
  'oci-seccomp': 'switch',
  'override-procs': 'value',
  'panic-log': 'value',
  'panic-log-fd': 'value',
  'panic-signal': 'value',
  'pause-external-networking': 'switch',
  'pcap-log': 'value',
  platform: 'value',
  platform_device_path: 'value',
  'pod-init-config': 'value',
  profile: 'switch',
  'profile-block': 'value',
  'profile-cpu': 'value',
  'profile-gc-interval': 'value',
  'profile-heap': 'value',
  'profile-mutex': 'value',
  'profiling-metrics': 'value',
  'profiling-metrics-log': 'value',
  'profiling-metrics-rate-us': 'value',
  qdisc: 'value',
  'qdisc-tbf-burst': 'value',
  'qdisc-tbf-rate': 'value',
  rdmaproxy: 'switch',
  'ref-leak-mode': 'value',
  'reproduce-nat': 'switch',
  'reproduce-nftables': 'switch',
  'restore-spec-validation': 'value',
  'rx-checksum-offload': 'switch',
  'shared-root': 'value',
  'sidecar-release-enforcement-policy': 'value',
  'software-gso': 'switch',
  strace: 'switch',
  'strace-event': 'switch',
  'strace-log-size': 'value',
  'strace-syscalls': 'value',
  'systrap-disable-fast-path': 'switch',
  'systrap-disable-syscall-patching': 'switch',
  'TESTONLY-afs-syscall-panic': 'switch',
  'TESTONLY-allow-packet-endpoint-write': 'switch',
  'TESTONLY-autosave-image-path': 'value',
  'TESTONLY-autosave-resume': 'switch',
  'TESTONLY-nftables': 'switch',
  'TESTONLY-test-name-env': 'value',
  'TESTONLY-unsafe-nonroot': 'switch',
  tpuproxy: 'switch',
  trace: 'value',
  traceback: 'value',
  'tx-checksum-offload': 'switch',
  vfs2: 'switch',
  'watchdog-action': 'value',
};

/** A flag of a command of another runtime's that silt's command does not have. */
export interface CommandFlag {
  readonly kind: FlagKind;
  /** Why silt cannot do it; without that it means nothing here, and is accepted with a line in the debug log. */
  readonly refused?: string;
}

const NO_PAGES = 'silt saves all of the memory at once, into the image';
const EXEC_FD = 'give the program by its path in the container';
const NOT_A_CHILD = 'only the end of the first process can be waited for';

/**
 * Flags of commands of runc (1.1 to 1.3) and of runsc (of August 2026), by the command. What silt's own commands take, meaning something
 * or not, is defined with them. docs/compatibility.md has the same list.
 */
export const commandFlagsOfOthers: Readonly<Record<string, Readonly<Record<string, CommandFlag>>>> = {
  run: { 'exec-fd': { kind: 'value', refused: EXEC_FD } },
  exec: { 'exec-fd': { kind: 'value', refused: EXEC_FD } },
  checkpoint: {
    'auto-dedup': { kind: 'switch' },
    direct: { kind: 'switch' },
    'exclude-committed-zero-pages': { kind: 'switch' },
    'lazy-pages': { kind: 'switch', refused: NO_PAGES },
    'page-server': { kind: 'value', refused: NO_PAGES },
    'parent-path': { kind: 'value', refused: NO_PAGES },
    'pre-dump': { kind: 'switch', refused: NO_PAGES },
    'status-fd': { kind: 'value', refused: NO_PAGES },
  },
  restore: {
    'auto-dedup': { kind: 'switch' },
    direct: { kind: 'switch' },
    'lazy-pages': { kind: 'switch', refused: '`--background` does that, without a daemon beside it' },
    'lsm-mount-context': { kind: 'value', refused: 'no label of a security module is restored' },
    'lsm-profile': { kind: 'value', refused: 'no label of a security module is restored' },
  },
  wait: {
    pid: { kind: 'value', refused: NOT_A_CHILD },
    rootpid: { kind: 'value', refused: NOT_A_CHILD },
    checkpoint: { kind: 'value', refused: '`silt checkpoint` returns when the image is complete' },
    restore: { kind: 'switch', refused: '`silt restore` returns when the container runs' },
  },
  do: {
    'uid-map': { kind: 'value', refused: 'the command is run as root of a user namespace of silt’s choosing' },
    'gid-map': { kind: 'value', refused: 'the command is run as root of a user namespace of silt’s choosing' },
  },
};
