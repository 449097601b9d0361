import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { C, errnoNumber, hostArch, syscallNumbers } from '../../syscall';
import type { Seccomp, SeccompArg } from '../spec-linux';
import { compileSeccomp } from './compile';

/** Installs the filter in its first argument, makes the system calls in the others, prints what came back. */
const CALLER = `
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  static struct sock_filter filter[4096];
  int fd = open(argv[1], O_RDONLY);
  ssize_t size = read(fd, filter, sizeof filter);
  struct sock_fprog program = { size / sizeof filter[0], filter };
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 3;
  if (syscall(SYS_seccomp, 1, strtoul(argv[2], 0, 0), &program)) return 4;
  for (int i = 3; i < argc; i++) {
    unsigned long v[7] = { 0 };
    char *at = argv[i];
    for (int j = 0; j < 7 && *at; j++, at += *at == ',') v[j] = strtoul(at, &at, 0);
    long result = syscall(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
    char line[32];
    write(1, line, snprintf(line, sizeof line, "%ld\\n", result < 0 ? -errno : result));
  }
  return 0;
}
`;

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'silt-seccomp-'));
  execFileSync(process.env['CC'] ?? 'cc', ['-w', '-O1', '-x', 'c', '-', '-o', join(directory, 'caller')], {
    input: CALLER,
  });
});

afterAll(() => rmSync(directory, { recursive: true }));

type Call = readonly [name: string, ...args: (number | bigint)[]];

function callUnder(
  profile: Seccomp,
  calls: readonly Call[],
): { results: number[]; signal: string | null; status: number | null } {
  const { bpf, flags } = compileSeccomp(profile);
  const file = join(directory, 'filter');
  writeFileSync(file, bpf);
  const words = calls.map(([name, ...args]) => [syscallNumbers(hostArch)[name] ?? Number(name), ...args].join(','));
  const { stdout, signal, status } = spawnSync(join(directory, 'caller'), [file, `${flags}`, ...words], {
    encoding: 'utf8',
  });
  return { results: stdout.split('\n').slice(0, -1).map(Number), signal, status };
}

/** Stands for the default profile of engines: most of the table, few conditions, three architectures. */
function ordinaryProfile(): Seccomp {
  const forbidden =
    /^(?:mount|umount|pivot_root|swap|reboot|kexec|init_module|finit_|delete_module|bpf$|keyctl|add_key|acct|quotactl|ptrace)/;
  const withConditions = ['personality', 'socket', 'clone', 'clone3'];
  const all = new Set([...Object.keys(syscallNumbers(hostArch)), ...Object.keys(syscallNumbers('i386'))]);
  const names = [...all].filter((name) => !forbidden.test(name) && !withConditions.includes(name));
  const personalities = [0, 8, 0x20000, 0x20008, 0xffffffff].map((value) => ({
    names: ['personality'],
    action: 'SCMP_ACT_ALLOW' as const,
    args: [{ index: 0, value, op: 'SCMP_CMP_EQ' } satisfies SeccompArg],
  }));
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: errnoNumber('EADDRINUSE'),
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
    syscalls: [
      { names, action: 'SCMP_ACT_ALLOW' },
      ...personalities,
      { names: ['socket'], action: 'SCMP_ACT_ALLOW', args: [{ index: 0, value: 40, op: 'SCMP_CMP_NE' }] },
      {
        names: ['clone'],
        action: 'SCMP_ACT_ALLOW',
        args: [{ index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
      },
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: errnoNumber('ENOSYS') },
    ],
  };
}

test('a profile of ordinary size takes few instructions', () => {
  expect(ordinaryProfile().syscalls![0]!.names.length).toBeGreaterThan(350);
  expect(compileSeccomp(ordinaryProfile(), 'x86_64').bpf.length / 8).toBeLessThan(500);
  expect(compileSeccomp(ordinaryProfile(), 'aarch64').bpf.length / 8).toBeLessThan(250);
});

test('the kernel takes it and does what it says', () => {
  const denied = -errnoNumber('EADDRINUSE');
  const { results, signal, status } = callUnder(ordinaryProfile(), [
    ['getppid'],
    ['mount', 0, 0, 0, 0, 0],
    ['bpf', 0, 0, 0],
    ['personality', 0xffffffff],
    ['personality', 0x0004_0000],
    ['personality', 0x1_0000_0000n],
    ['clone', C.CLONE_NEWUSER],
    ['clone3', 0, 0],
    ['socket', 40, 1, 0],
    ['socket', 4000, 1, 0],
    ['close', 999],
    ['9999'],
  ]);
  expect([signal, status]).toEqual([null, 0]);
  expect(results).toEqual([
    process.pid,
    denied,
    denied,
    0,
    denied,
    denied,
    denied,
    -errnoNumber('ENOSYS'),
    denied,
    -errnoNumber('EAFNOSUPPORT'),
    -errnoNumber('EBADF'),
    -errnoNumber('ENOSYS'),
  ]);
});

test('what is newer than the profile does not reach the kernel', () => {
  const profile: Seccomp = {
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [{ names: ['write', 'exit_group', 'close', 'openat2'], action: 'SCMP_ACT_ALLOW' }],
  };
  expect(callUnder(profile, [['close', 999], ['faccessat2', 999, 0, 0, 0], ['getppid']]).results).toEqual([
    ...[-errnoNumber('EBADF'), -errnoNumber('ENOSYS'), -errnoNumber('EPERM')],
  ]);
});

test.each(['SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_TRAP'] as const)(
  '%s ends the process',
  (action) => {
    const profile: Seccomp = { defaultAction: 'SCMP_ACT_ALLOW', flags: [], syscalls: [{ names: ['getppid'], action }] };
    expect(callUnder(profile, [['close', 999], ['getppid'], ['close', 999]])).toEqual({
      results: [-errnoNumber('EBADF')],
      signal: 'SIGSYS',
      status: null,
    });
  },
);

test('64-bit arguments are compared whole', () => {
  const profile = (op: SeccompArg['op'], value: bigint): Seccomp => ({
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['lseek'], action: 'SCMP_ACT_ERRNO', errnoRet: 98, args: [{ index: 1, value, op }] }],
  });
  const offsets = [0n, 0x1_0000_0000n, 0x1_0000_0001n, 0x2_0000_0000n];
  const seeks: Call[] = offsets.map((offset) => ['lseek', 999, offset, 0]);
  const seen = (op: SeccompArg['op']): boolean[] =>
    callUnder(profile(op, 0x1_0000_0000n), seeks).results.map((result) => result === -98);
  expect(seen('SCMP_CMP_GT')).toEqual([false, false, true, true]);
  expect(seen('SCMP_CMP_LE')).toEqual([true, true, false, false]);
  expect(seen('SCMP_CMP_EQ')).toEqual([false, true, false, false]);
});
