import { constants as fs, readdirSync, readFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import {
  type Arch,
  C,
  constantsOf,
  errnoName,
  errnoNumber,
  hostArch,
  signalName,
  signalNumber,
  syscallNumbers,
  X32_SYSCALL_BIT,
} from '.';

const ARCHES: readonly Arch[] = ['x86_64', 'aarch64'];
/** An aarch64 machine has x86's numbers only with Debian's linux-libc-dev-amd64-cross; aarch64's are everywhere. */
const built = ARCHES.filter((arch) => arch === hostArch || Object.keys(syscallNumbers(arch)).length > 0);
const onX86 = built.includes('x86_64') ? test : test.skip;

describe('system call numbers', () => {
  const samples = [
    ['x86_64', 'read', 0],
    ['x86_64', 'openat', 257],
    ['x86_64', 'clone3', 435],
    ['x86_64', 'mount_setattr', 442],
    ['x86_64', 'open_tree_attr', 467],
    ['x86_64', 'uretprobe', 335],
    ['aarch64', 'read', 63],
    ['aarch64', 'openat', 56],
    ['aarch64', 'fcntl', 25],
    ['aarch64', 'newfstatat', 79],
    ['aarch64', 'clone3', 435],
    ['aarch64', 'memfd_secret', 447],
    ['aarch64', 'listmount', 458],
  ] as const;
  test.each(samples.filter(([arch]) => built.includes(arch)))('%s %s is %d', (arch, name, number) => {
    expect(syscallNumbers(arch)[name]).toBe(number);
  });

  test('aarch64 lacks what it never had', () => {
    for (const name of ['open', 'fork', 'syscalls', 'arch_specific_syscall', 'uretprobe']) {
      expect(syscallNumbers('aarch64')).not.toHaveProperty(name);
    }
  });

  onX86('x86 has its two other ABIs', () => {
    expect(syscallNumbers('i386')).toMatchObject({ read: 3, socketcall: 102, fchmodat2: 452 });
    expect(syscallNumbers('x32')).toMatchObject({ read: X32_SYSCALL_BIT, execveat: X32_SYSCALL_BIT + 545 });
  });

  test('a name is only a name', () => {
    expect(syscallNumbers('x86_64')['constructor']).toBeUndefined();
  });

  test.each(built)('no number of %s is given twice', (arch) => {
    const numbers = Object.values(syscallNumbers(arch));
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test.each(built)('%s has every system call that silt makes', (arch) => {
    const names = new Set(usedSyscalls());
    expect(names.size).toBeGreaterThan(30);
    expect([...names].filter((name) => syscallNumbers(arch)[name] === undefined)).toEqual([]);
  });
});

/** The names that appear as `call('name'` in the rooms that build programs. */
function usedSyscalls(): string[] {
  const rooms = ['syscall', 'oci', 'gofer', 'sandbox'];
  return rooms.flatMap((room) => {
    const root = join(__dirname, '../..', room);
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    return files
      .filter((file) => !file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/\bcall\('(\w+)'/g)])
      .map((match) => match[1]!);
  });
}

describe('constants', () => {
  test('well-known values', () => {
    expect(C).toMatchObject({
      AT_FDCWD: -100,
      CLONE_NEWTIME: 0x80,
      CLONE_IO: 0x80000000,
      CLONE_INTO_CGROUP: 0x200000000,
      MS_BIND: 4096,
      MOUNT_ATTR_IDMAP: 0x100000,
      FSCONFIG_CMD_CREATE: 6,
      UMOUNT_NOFOLLOW: 8,
      CAP_LAST_CAP: 40,
      SECCOMP_RET_ALLOW: 0x7fff0000,
      SECCOMP_RET_KILL_PROCESS: 0x80000000,
      AUDIT_ARCH_X86_64: 0xc000003e,
      AUDIT_ARCH_AARCH64: 0xc00000b7,
      TIOCGPTPEER: 0x5441,
      SOCK_SEQPACKET: 5,
      MSG_CMSG_CLOEXEC: 0x40000000,
      P_PIDFD: 3,
      PR_SET_NO_NEW_PRIVS: 38,
      BPF_CGROUP_DEVICE: 6,
      RLIMIT_NOFILE: 7,
    });
  });

  test('node agrees about the ones that it knows', () => {
    const { O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_CREAT, O_NOATIME, S_IFSOCK } = fs;
    expect(C).toMatchObject({ O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_CREAT, O_NOATIME, S_IFSOCK });
  });

  test('what differs between the architectures', () => {
    const [x86, arm] = ARCHES.map((arch) => constantsOf(arch)) as [typeof C, typeof C];
    const differing = Object.keys(x86).filter((name) => x86[name as keyof typeof C] !== arm[name as keyof typeof C]);
    expect(differing.sort()).toEqual(['O_DIRECT', 'O_DIRECTORY', 'O_LARGEFILE', 'O_NOFOLLOW', 'O_TMPFILE']);
    expect(arm).toMatchObject({
      O_DIRECTORY: 0o40000,
      O_NOFOLLOW: 0o100000,
      O_DIRECT: 0o200000,
      O_LARGEFILE: 0o400000,
    });
    expect(constantsOf(hostArch)).toEqual(C);
  });
});

describe('errnos and signals', () => {
  test('node agrees about every errno and signal that it knows', () => {
    const errnos = Object.keys(os.errno).filter((name) => name !== 'ENOTSUP');
    expect(errnos.map(errnoNumber)).toEqual(errnos.map((name) => os.errno[name as keyof typeof os.errno]));
    const signals = Object.keys(os.signals);
    expect(signals.map(signalNumber)).toEqual(signals.map((name) => os.signals[name as NodeJS.Signals]));
  });

  test('names of numbers', () => {
    expect([2, -2, 11, 35, 4000].map(errnoName)).toEqual(['ENOENT', 'ENOENT', 'EAGAIN', 'EDEADLK', 'errno 4000']);
    expect([6, 29, 31, 34, 37, 64, 200].map(signalName)).toEqual([
      ...['SIGABRT', 'SIGIO', 'SIGSYS', 'SIGRTMIN', 'SIGRTMIN+3', 'SIGRTMIN+30', 'signal 200'],
    ]);
  });

  test.each([
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
    ['SIGRTMIN-1', undefined],
    ['0', undefined],
    ['65', undefined],
    ['SIGNONE', undefined],
    ['', undefined],
  ])('signal %j is %s', (text, number) => {
    expect(signalNumber(text)).toBe(number);
  });

  test('an unknown errno is refused', () => {
    expect(() => errnoNumber('ENOPE')).toThrow(RangeError);
  });
});
