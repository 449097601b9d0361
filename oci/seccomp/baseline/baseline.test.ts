import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Arch, C, syscallNumbers } from '../../../syscall';
import { call, decodeProgram } from '../filter.fixture';
import { type BaselineName, baselineFilter } from '.';
import { baselineProfile } from './profile';

const AUDIT = { x86_64: C.AUDIT_ARCH_X86_64, aarch64: C.AUDIT_ARCH_AARCH64 };
const EPERM = C.SECCOMP_RET_ERRNO + 1;
const ENOSYS = C.SECCOMP_RET_ERRNO + 38;
const ALLOW = C.SECCOMP_RET_ALLOW;

const mask = (...capabilities: (keyof typeof C)[]): bigint =>
  capabilities.reduce((bits, name) => bits | (1n << BigInt(C[name])), 0n);
/** What Docker and containerd grant. */
const USUAL = mask(
  ...(['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FSETID', 'CAP_FOWNER', 'CAP_MKNOD', 'CAP_NET_RAW', 'CAP_SETGID'] as const),
  ...(['CAP_SETUID', 'CAP_SETFCAP', 'CAP_SETPCAP', 'CAP_NET_BIND_SERVICE', 'CAP_SYS_CHROOT', 'CAP_KILL'] as const),
  'CAP_AUDIT_WRITE',
);

interface Asked {
  readonly granted?: bigint;
  readonly arch?: Arch;
}

/** What the filter of a container says to a system call. */
function ask(
  name: BaselineName,
  [syscall, ...args]: readonly [string, ...(number | bigint)[]],
  { granted = USUAL, arch = 'x86_64' }: Asked = {},
): number {
  const { bpf } = baselineFilter(name, granted, arch)!;
  return call(decodeProgram(bpf), AUDIT[arch], syscallNumbers(arch)[syscall]!, args);
}

function allowedOf(name: BaselineName, arch: Arch, granted = USUAL): string[] {
  return Object.keys(syscallNumbers(arch)).filter((one) => ask(name, [one], { arch, granted }) === ALLOW);
}

test('every name of the profiles is a system call of some machine', () => {
  const ofArm = 'arm_fadvise64_64 arm_sync_file_range sync_file_range2 set_tls breakpoint cacheflush send recv'.split(
    ' ',
  );
  const others = (['x86_64', 'i386', 'aarch64'] as const).flatMap((abi) => Object.keys(syscallNumbers(abi)));
  const known = [...others, ...ofArm];
  for (const name of ['docker', 'strict'] as const) {
    const names = baselineProfile(name).syscalls!.flatMap((rule) => rule.names);
    expect(names.filter((one) => !known.includes(one))).toEqual([]);
  }
});

test('no name stands in the profile twice but those with conditions', () => {
  const names = baselineProfile('docker').syscalls!.flatMap((rule) => rule.names);
  const twice = names.filter((one, i) => names.indexOf(one) !== i);
  expect([...new Set(twice)].sort()).toEqual(['clone', 'socket']);
});

test('what a container with the usual capabilities cannot call, on x86_64', () => {
  const refused = Object.keys(syscallNumbers('x86_64')).filter((one) => ask('docker', [one]) === EPERM);
  expect(refused.sort()).toEqual(
    `_sysctl acct add_key afs_syscall bpf clock_settime create_module delete_module fanotify_init finit_module fsconfig fsmount
     fsopen fspick get_kernel_syms get_mempolicy getpmsg init_module io_uring_enter io_uring_register io_uring_setup ioperm
     iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr move_mount
     move_pages nfsservctl open_by_handle_at open_tree open_tree_attr perf_event_open pidfd_getfd pivot_root
     process_madvise putpmsg query_module quotactl quotactl_fd reboot request_key security set_mempolicy
     set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs syslog tuxcall umount2
     unshare uprobe uselib userfaultfd ustat vhangup vserver`.split(/\s+/),
  );
});

test.each<[string, keyof typeof C, string[]]>([
  ['mounts', 'CAP_SYS_ADMIN', ['mount', 'umount2', 'pivot_root', 'fsopen', 'move_mount', 'open_tree_attr']],
  ['namespaces', 'CAP_SYS_ADMIN', ['unshare', 'setns', 'sethostname']],
  ['programs in the kernel, as administrator', 'CAP_SYS_ADMIN', ['bpf', 'perf_event_open', 'syslog']],
  ['programs in the kernel', 'CAP_BPF', ['bpf']],
  ['performance counters', 'CAP_PERFMON', ['perf_event_open']],
  ['the kernel’s log', 'CAP_SYSLOG', ['syslog']],
  ['another root', 'CAP_SYS_CHROOT', ['chroot']],
  ['others’ fds', 'CAP_SYS_PTRACE', ['kcmp', 'pidfd_getfd', 'process_madvise']],
  ['files by handle', 'CAP_DAC_READ_SEARCH', ['open_by_handle_at']],
  ['memory policy', 'CAP_SYS_NICE', ['mbind', 'get_mempolicy', 'set_mempolicy']],
  ['the clock', 'CAP_SYS_TIME', ['settimeofday', 'clock_settime']],
  ['modules', 'CAP_SYS_MODULE', ['init_module', 'finit_module', 'delete_module']],
  ['ports', 'CAP_SYS_RAWIO', ['iopl', 'ioperm']],
  ['accounting', 'CAP_SYS_PACCT', ['acct']],
  ['terminals', 'CAP_SYS_TTY_CONFIG', ['vhangup']],
  ['the machine', 'CAP_SYS_BOOT', ['reboot']],
])('%s are for whoever has %s', (_, capability, names) => {
  for (const name of names) {
    expect([name, ask('docker', [name], { granted: 0n })]).toEqual([name, EPERM]);
    expect([name, ask('docker', [name], { granted: mask(capability) })]).toEqual([name, ALLOW]);
  }
});

describe.each(['x86_64', 'aarch64'] as const)('on %s', (arch) => {
  test('a clone with a new namespace needs CAP_SYS_ADMIN, in every bit, and clone3 is not there without it', () => {
    const admin = { arch, granted: mask('CAP_SYS_ADMIN') };
    const kinds = ['NEWNS', 'NEWCGROUP', 'NEWUTS', 'NEWIPC', 'NEWUSER', 'NEWPID', 'NEWNET'] as const;
    for (const kind of kinds) {
      const flags = C[`CLONE_${kind}`] | C.SIGCHLD;
      expect([kind, ask('docker', ['clone', flags], { arch })]).toEqual([kind, EPERM]);
      expect([kind, ask('docker', ['clone', flags], admin)]).toEqual([kind, ALLOW]);
    }
    expect(ask('docker', ['clone', C.SIGCHLD | C.CLONE_VM], { arch })).toBe(ALLOW);
    expect(ask('docker', ['clone3'], { arch })).toBe(ENOSYS);
    expect(ask('docker', ['clone3'], admin)).toBe(ALLOW);
  });

  test('strict refuses a new user namespace to everybody, and other namespaces as docker does', () => {
    const admin = { arch, granted: mask('CAP_SYS_ADMIN') };
    for (const call of ['clone', 'unshare']) {
      expect(ask('strict', [call, C.CLONE_NEWUSER], admin)).toBe(EPERM);
      expect(ask('strict', [call, C.CLONE_NEWUSER | C.CLONE_NEWNS], admin)).toBe(EPERM);
      expect(ask('strict', [call, C.CLONE_NEWNS], admin)).toBe(ALLOW);
      expect(ask('strict', [call, C.CLONE_NEWNS], { arch })).toBe(EPERM);
    }
    expect(ask('strict', ['clone3'], admin)).toBe(ENOSYS);
    expect(ask('docker', ['unshare', C.CLONE_NEWUSER], admin)).toBe(ALLOW);
  });

  test('sockets by family', () => {
    const ALL = [C.AF_UNIX, C.AF_INET, C.AF_INET6, C.AF_NETLINK, C.AF_PACKET, C.AF_ALG, C.AF_VSOCK, 44, 9];
    const refused = (name: BaselineName): number[] =>
      ALL.filter((family) => ask(name, ['socket', family, 1, 0], { arch }) !== ALLOW);
    expect(refused('docker')).toEqual([C.AF_ALG, C.AF_VSOCK]);
    expect(refused('strict')).toEqual([C.AF_PACKET, C.AF_ALG, C.AF_VSOCK, 44, 9]);
  });

  test('the upper half of a register, which the kernel does not look at, opens no socket', () => {
    for (const name of ['docker', 'strict'] as const)
      expect(ask(name, ['socket', 0x1_0000_0000n + BigInt(C.AF_ALG), 5, 0], { arch })).toBe(EPERM);
  });

  test('of personalities only the harmless ones', () => {
    const ADDR_NO_RANDOMIZE = 0x0040000;
    expect([0, 8, 0x20008, 0xffffffff].map((one) => ask('docker', ['personality', one], { arch }))).toEqual(
      Array(4).fill(ALLOW),
    );
    expect(ask('docker', ['personality', ADDR_NO_RANDOMIZE], { arch })).toBe(EPERM);
  });

  test.each([
    'io_uring_setup',
    'io_uring_enter',
    'userfaultfd',
    'keyctl',
    'add_key',
    'request_key',
    'kexec_load',
    'swapon',
  ])('%s is for nobody', (name) => {
    const everything = (1n << 41n) - 1n - mask('CAP_SYS_MODULE');
    for (const baseline of ['docker', 'strict'] as const)
      expect(ask(baseline, [name], { arch, granted: everything })).toBe(EPERM);
  });

  test('a system call that is newer than the profile is not there', () => {
    const { bpf } = baselineFilter('docker', USUAL, arch)!;
    expect(call(decodeProgram(bpf), AUDIT[arch], 5000)).toBe(ENOSYS);
  });

  test('strict allows nothing that docker does not', () => {
    const docker = allowedOf('docker', arch);
    expect(allowedOf('strict', arch).filter((one) => !docker.includes(one))).toEqual([]);
  });
});

test('i386 programs get sockets as under Docker, and under strict only by the call that shows the family', () => {
  const i386 = (name: BaselineName, nr: string, ...args: number[]): number =>
    call(
      decodeProgram(baselineFilter(name, USUAL, 'x86_64')!.bpf),
      C.AUDIT_ARCH_I386,
      syscallNumbers('i386')[nr]!,
      args,
    );
  const SYS_SOCKET = 1;
  const SYS_BIND = 2;
  expect(i386('docker', 'socketcall', SYS_SOCKET)).toBe(ALLOW);
  expect(i386('strict', 'socketcall', SYS_SOCKET)).toBe(EPERM);
  expect(i386('strict', 'socketcall', SYS_BIND)).toBe(ALLOW);
  expect(i386('strict', 'socket', C.AF_INET)).toBe(ALLOW);
  expect(i386('docker', 'mount')).toBe(EPERM);
});

test('x32 is killed', () => {
  const { bpf } = baselineFilter('docker', USUAL, 'x86_64')!;
  expect(call(decodeProgram(bpf), C.AUDIT_ARCH_X86_64, 0x40000000 + syscallNumbers('x86_64')['getpid']!)).toBe(
    C.SECCOMP_RET_KILL_THREAD,
  );
});

test('whoever owns the kernel anyway has no baseline; two thirds of that do not count', () => {
  const everything = (1n << 41n) - 1n;
  expect(baselineFilter('docker', everything)).toBeUndefined();
  expect(baselineFilter('strict', everything)).toBeUndefined();
  expect(baselineFilter('docker', mask('CAP_SYS_ADMIN', 'CAP_SYS_MODULE'))).toBeDefined();
  expect(baselineFilter('none', 0n)).toBeUndefined();
});

test('no place of a verdict is left open', () => {
  for (const name of ['docker', 'strict'] as const) {
    for (const arch of ['x86_64', 'aarch64'] as const) {
      const returned = decodeProgram(baselineFilter(name, USUAL, arch)!.bpf)
        .filter(({ code }) => code === (C.BPF_RET | C.BPF_K))
        .map(({ k }) => k);
      const known = [ALLOW, EPERM, ENOSYS, C.SECCOMP_RET_KILL_THREAD];
      expect(returned.filter((one) => !known.includes(one))).toEqual([]);
    }
  }
});

describe('docs/security.md', () => {
  const text = readFileSync(join(__dirname, '../../../docs/security.md'), 'utf8');

  test.each(['docker', 'strict'] as const)('says how many calls %s leaves', (name) => {
    // With some first argument at least: SIGCHLD, PER_LINUX32, AF_UNIX.
    const reached = Object.keys(syscallNumbers('x86_64')).filter((one) =>
      [0, 1, C.SIGCHLD, 8].some((arg) => ask(name, [one, arg]) === ALLOW),
    );
    expect(text).toContain(`| silt, \`${name}\` | ${reached.length} |`);
    expect(text).toContain(`How many of the ${Object.keys(syscallNumbers('x86_64')).length} system calls`);
  });
});
