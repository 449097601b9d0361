import { failureOf } from '../check.fixture';
import { type Arch, C, syscallNumbers } from '../../syscall';
import type { Seccomp, SeccompArg, SeccompOperator } from '../spec-linux';
import { abisOf, X32_BIT } from './abis';
import { encodeProgram, type Instruction } from './bpf';
import { call } from './filter.fixture';
import { assembleFilter, compileSeccomp } from './compile';

const AUDIT = { x86_64: C.AUDIT_ARCH_X86_64, aarch64: C.AUDIT_ARCH_AARCH64 };
const ALLOW = C.SECCOMP_RET_ALLOW;
const errno = (number: number): number => C.SECCOMP_RET_ERRNO + number;
const EPERM = errno(1);
const ENOSYS = errno(38);

function named(
  program: readonly Instruction[],
  arch: Arch,
  name: string,
  args: readonly (number | bigint)[] = [],
): number {
  return call(program, AUDIT[arch], syscallNumbers(arch)[name]!, args);
}

const deny = (syscalls: Seccomp['syscalls']): Seccomp => ({
  defaultAction: 'SCMP_ACT_ERRNO',
  syscalls: syscalls ?? [],
});
const allow = (...names: string[]) => ({ names, action: 'SCMP_ACT_ALLOW' as const });

describe.each(['x86_64', 'aarch64'] as const)('on %s', (arch) => {
  test('names are allowed, others get the default', () => {
    const program = assembleFilter(deny([allow('read', 'write', 'exit_group', 'setns')]), arch);
    expect(
      ['read', 'write', 'exit_group', 'setns', 'mount', 'ptrace'].map((name) => named(program, arch, name)),
    ).toEqual([...[ALLOW, ALLOW, ALLOW, ALLOW, EPERM, EPERM]]);
  });

  test('every system call of the table, in a profile that allows every other one', () => {
    const names = Object.keys(syscallNumbers(arch));
    const program = assembleFilter(deny([allow(...names.filter((_, i) => i % 2 === 0)), allow('file_setattr')]), arch);
    const last = names.indexOf('file_setattr');
    const expected = names.map((name, i) => {
      if (i % 2 === 0 || i === last) return ALLOW;
      return syscallNumbers(arch)[name]! > syscallNumbers(arch)['file_setattr']! ? ENOSYS : EPERM;
    });
    expect(names.map((name) => named(program, arch, name))).toEqual(expected);
  });

  test.each<[string, Seccomp['defaultAction'], number | undefined, number]>([
    ['kill', 'SCMP_ACT_KILL', undefined, 0],
    ['kill thread', 'SCMP_ACT_KILL_THREAD', undefined, 0],
    ['kill process', 'SCMP_ACT_KILL_PROCESS', undefined, 0x80000000],
    ['trap', 'SCMP_ACT_TRAP', undefined, 0x30000],
    ['errno', 'SCMP_ACT_ERRNO', undefined, 0x50001],
    ['errno 38', 'SCMP_ACT_ERRNO', 38, 0x50026],
    ['errno 0', 'SCMP_ACT_ERRNO', 0, 0x50000],
    ['trace', 'SCMP_ACT_TRACE', undefined, 0x7ff00001],
    ['trace 7', 'SCMP_ACT_TRACE', 7, 0x7ff00007],
    ['log', 'SCMP_ACT_LOG', undefined, 0x7ffc0000],
    ['notify', 'SCMP_ACT_NOTIFY', undefined, 0x7fc00000],
  ])('the action %s, for a rule and as the default', (_, action, errnoRet, returns) => {
    const ret = errnoRet === undefined ? {} : { errnoRet };
    const rule = assembleFilter(
      { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mount'], action, ...ret }] },
      arch,
    );
    expect(named(rule, arch, 'mount')).toBe(returns);
    expect(named(rule, arch, 'read')).toBe(ALLOW);
    const defaultRet = errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet };
    const byDefault = assembleFilter(
      { defaultAction: action, ...defaultRet, syscalls: [allow('read', 'setns')] },
      arch,
    );
    expect(named(byDefault, arch, 'mount')).toBe(returns);
    expect(named(byDefault, arch, 'read')).toBe(ALLOW);
  });

  test('what is newer than the newest of the profile gets ENOSYS', () => {
    const program = assembleFilter(
      deny([allow('read', 'openat2'), { names: ['pidfd_getfd'], action: 'SCMP_ACT_ERRNO' }]),
      arch,
    );
    expect(named(program, arch, 'pidfd_getfd')).toBe(EPERM);
    expect(named(program, arch, 'faccessat2')).toBe(ENOSYS);
    expect(call(program, AUDIT[arch], 9999)).toBe(ENOSYS);
  });

  test.each(['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE'] as const)(
    'but not when %s lets it pass',
    (defaultAction) => {
      const program = assembleFilter(
        { defaultAction, syscalls: [{ names: ['mount'], action: 'SCMP_ACT_ERRNO' }] },
        arch,
      );
      expect(call(program, AUDIT[arch], 9999) & 0xffff0000).toBeGreaterThanOrEqual(C.SECCOMP_RET_TRACE);
    },
  );

  test('names that no kernel has are ignored', () => {
    const program = assembleFilter(deny([allow('read', 'no_such_call', 'constructor')]), arch);
    expect(named(program, arch, 'read')).toBe(ALLOW);
  });

  test('an architecture that is not in the filter is killed', () => {
    const program = assembleFilter({ ...deny([allow('read')]), architectures: ['SCMP_ARCH_MIPS64'] }, arch);
    expect(call(program, 0xc0000008, 0)).toBe(C.SECCOMP_RET_KILL_THREAD);
    expect(call(program, C.AUDIT_ARCH_I386, 3)).toBe(C.SECCOMP_RET_KILL_THREAD);
    expect(call(program, C.AUDIT_ARCH_ARM, 3)).toBe(C.SECCOMP_RET_KILL_THREAD);
    expect(named(program, arch, 'read')).toBe(ALLOW);
  });
});

describe('conditions', () => {
  const BIG = 0x1_0000_0005n;
  const samples = [
    0n,
    4n,
    5n,
    6n,
    0xffffffffn,
    0x1_0000_0000n,
    BIG - 1n,
    BIG,
    BIG + 1n,
    0x2_0000_0000n,
    0x2_0000_0005n,
    2n ** 64n - 1n,
  ];
  const operators: Readonly<Record<Exclude<SeccompOperator, 'SCMP_CMP_MASKED_EQ'>, (a: bigint, b: bigint) => boolean>> =
    {
      SCMP_CMP_NE: (a, b) => a !== b,
      SCMP_CMP_LT: (a, b) => a < b,
      SCMP_CMP_LE: (a, b) => a <= b,
      SCMP_CMP_EQ: (a, b) => a === b,
      SCMP_CMP_GE: (a, b) => a >= b,
      SCMP_CMP_GT: (a, b) => a > b,
    };

  test.each(Object.entries(operators))('%s on 64 bits', (op, holds) => {
    for (const value of samples) {
      const arg: SeccompArg = { index: 3, value, op: op as SeccompOperator };
      const program = assembleFilter(deny([{ ...allow('openat'), args: [arg] }]), 'x86_64');
      const results = samples.map((sample) => named(program, 'x86_64', 'openat', [0, 0, 0, sample]));
      expect(results).toEqual(samples.map((sample) => (holds(sample, value) ? ALLOW : EPERM)));
    }
  });

  test('SCMP_CMP_MASKED_EQ on 64 bits', () => {
    const cases = [
      { value: 0x7e020000n, valueTwo: 0n },
      { value: 0xff_0000_00ffn, valueTwo: 0x12_0000_0034n },
      // Bits outside the mask do not count.
      { value: 0xf0n, valueTwo: 0x1ffn },
    ];
    const values = [
      0n,
      0x11n,
      0x10000000n,
      0x7e020000n,
      0x12_0000_0034n,
      0xab12_5678_0034n,
      0x12_0000_0035n,
      0xf7n,
      0xffn,
      0x1_0000_00f0n,
    ];
    for (const { value, valueTwo } of cases) {
      const args: SeccompArg[] = [{ index: 0, value, valueTwo, op: 'SCMP_CMP_MASKED_EQ' }];
      const program = assembleFilter(deny([{ ...allow('clone'), args }]), 'aarch64');
      const expected = values.map((one) => ((one & value) === (valueTwo & value) ? ALLOW : EPERM));
      expect(values.map((one) => named(program, 'aarch64', 'clone', [one]))).toEqual(expected);
      expect(new Set(expected).size).toBe(2);
    }
  });

  test('several arguments must all match, several rules one of them', () => {
    const eq = (index: number, value: number): SeccompArg => ({ index, value, op: 'SCMP_CMP_EQ' });
    const program = assembleFilter(
      deny([
        { ...allow('socket'), args: [eq(0, 1), eq(1, 2)] },
        { names: ['socket'], action: 'SCMP_ACT_ERRNO', errnoRet: 97, args: [eq(0, 16), eq(2, 9)] },
        { ...allow('socket', 'personality'), args: [eq(0, 16)] },
      ]),
      'x86_64',
    );
    const socket = (...args: number[]): number => named(program, 'x86_64', 'socket', args);
    expect([socket(1, 2), socket(1, 3), socket(2, 2), socket(16, 0, 9), socket(16, 0, 0)]).toEqual([
      ALLOW,
      EPERM,
      EPERM,
      errno(97),
      ALLOW,
    ]);
    expect(named(program, 'x86_64', 'personality', [16])).toBe(ALLOW);
    expect(named(program, 'x86_64', 'personality', [1])).toBe(EPERM);
  });

  test('two conditions on one argument mean either', () => {
    const args: SeccompArg[] = [0, 8].map((value) => ({ index: 0, value, op: 'SCMP_CMP_EQ' }));
    const program = assembleFilter(deny([{ ...allow('personality'), args }]), 'x86_64');
    expect([0, 8, 4].map((value) => named(program, 'x86_64', 'personality', [value]))).toEqual([ALLOW, ALLOW, EPERM]);
  });

  test('a rule without conditions says all, wherever it stands', () => {
    const conditional = {
      names: ['mount'],
      action: 'SCMP_ACT_KILL' as const,
      args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' as const }],
    };
    for (const rules of [
      [conditional, allow('mount')],
      [allow('mount'), conditional],
    ]) {
      expect(named(assembleFilter(deny(rules), 'x86_64'), 'x86_64', 'mount', [1])).toBe(ALLOW);
    }
    const first = [allow('mount'), { names: ['mount'], action: 'SCMP_ACT_KILL' as const }];
    expect(named(assembleFilter(deny(first), 'x86_64'), 'x86_64', 'mount')).toBe(ALLOW);
  });

  test('what does not match any rule of its own gets the default, not ENOSYS', () => {
    const program = assembleFilter(
      deny([{ ...allow('clone3'), args: [{ index: 1, value: 88, op: 'SCMP_CMP_EQ' }] }]),
      'x86_64',
    );
    expect(named(program, 'x86_64', 'clone3', [0, 64])).toBe(EPERM);
  });
});

describe('the other ABIs of x86', () => {
  const architectures = ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'];
  const i386 = syscallNumbers('i386');

  test('have their own numbers', () => {
    const program = assembleFilter({ ...deny([allow('read', 'getpid', '_llseek')]), architectures }, 'x86_64');
    expect(call(program, C.AUDIT_ARCH_I386, 3)).toBe(ALLOW);
    expect(call(program, C.AUDIT_ARCH_I386, 140)).toBe(ALLOW);
    expect(call(program, C.AUDIT_ARCH_I386, 0)).toBe(EPERM);
    expect(call(program, C.AUDIT_ARCH_I386, 141)).toBe(ENOSYS);
    expect(call(program, C.AUDIT_ARCH_X86_64, X32_BIT)).toBe(ALLOW);
    expect(call(program, C.AUDIT_ARCH_X86_64, X32_BIT + 1)).toBe(EPERM);
    expect(call(program, C.AUDIT_ARCH_X86_64, X32_BIT + 400)).toBe(ENOSYS);
    expect(call(program, C.AUDIT_ARCH_X86_64, 0)).toBe(ALLOW);
  });

  test('x32 is killed when it is not listed, the number -1 is not', () => {
    const program = assembleFilter({ defaultAction: 'SCMP_ACT_ALLOW' }, 'x86_64');
    expect(call(program, C.AUDIT_ARCH_X86_64, X32_BIT)).toBe(C.SECCOMP_RET_KILL_THREAD);
    expect(call(program, C.AUDIT_ARCH_X86_64, X32_BIT + 520)).toBe(C.SECCOMP_RET_KILL_THREAD);
    expect(call(program, C.AUDIT_ARCH_X86_64, -1)).toBe(ALLOW);
  });

  test('32-bit arguments are compared by their lower half', () => {
    const args: SeccompArg[] = [{ index: 0, value: 0xffffffff_ffffffffn, op: 'SCMP_CMP_EQ' }];
    const program = assembleFilter({ ...deny([{ ...allow('personality'), args }]), architectures }, 'x86_64');
    expect(call(program, C.AUDIT_ARCH_I386, i386['personality']!, [0xffffffff])).toBe(ALLOW);
    expect(named(program, 'x86_64', 'personality', [0xffffffff])).toBe(EPERM);
  });

  const socketcall = (profile: Seccomp, code: number): number =>
    call(assembleFilter({ ...profile, architectures }, 'x86_64'), C.AUDIT_ARCH_I386, i386['socketcall']!, [code]);
  const SOCKET = 1;
  const BIND = 2;

  test('socketcall and ipc follow the rules for what they stand for', () => {
    expect(socketcall(deny([allow('socket')]), SOCKET)).toBe(ALLOW);
    expect(socketcall(deny([allow('socket')]), BIND)).toBe(EPERM);
    const forbidden: Seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['socket'], action: 'SCMP_ACT_ERRNO' }],
    };
    expect([socketcall(forbidden, SOCKET), socketcall(forbidden, BIND)]).toEqual([EPERM, ALLOW]);
    const program = assembleFilter({ ...deny([allow('shmget')]), architectures }, 'x86_64');
    expect([23, 0x10017, 24].map((code) => call(program, C.AUDIT_ARCH_I386, i386['ipc']!, [code]))).toEqual([
      ALLOW,
      ALLOW,
      EPERM,
    ]);
  });

  test('what socketcall hides is denied when the profile wants to look at it', () => {
    const args: SeccompArg[] = [{ index: 0, value: 40, op: 'SCMP_CMP_NE' }];
    expect(socketcall(deny([{ ...allow('socket'), args }]), SOCKET)).toBe(EPERM);
    const strict: Seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['socket'], action: 'SCMP_ACT_ERRNO', args }],
    };
    expect(socketcall(strict, SOCKET)).toBe(EPERM);
    expect(socketcall(deny([{ ...allow('socket'), args }, allow('socketcall')]), SOCKET)).toBe(ALLOW);
  });
});

describe('the program', () => {
  test('branches that are too far for 8 bits arrive all the same', () => {
    // Conditions on the first system call push everything else out of reach.
    const args = (value: number): SeccompArg[] => [{ index: 1, value, op: 'SCMP_CMP_EQ' }];
    const rules = Array.from({ length: 120 }, (_, i) => ({
      ...allow('ioctl'),
      args: args(0x1_0000_0000 * (i + 1) + i),
    }));
    const program = assembleFilter(deny([...rules, allow('read', 'write', 'setns')]), 'x86_64');
    expect(program.length).toBeGreaterThan(500);
    expect(named(program, 'x86_64', 'ioctl', [0, 0x78_0000_0077])).toBe(ALLOW);
    expect(named(program, 'x86_64', 'ioctl', [0, 0x78_0000_0078])).toBe(EPERM);
    expect(named(program, 'x86_64', 'setns')).toBe(ALLOW);
  });

  test('more instructions than the kernel takes are refused', () => {
    const rules = Array.from({ length: 1000 }, (_, i) => ({
      ...allow('ioctl'),
      args: [{ index: 1, value: i, op: 'SCMP_CMP_EQ' as const }],
    }));
    expect(failureOf(() => compileSeccomp(deny(rules)))).toMatchObject({
      code: 'SPEC_INVALID',
      details: { jsonPath: '$.linux.seccomp' },
    });
  });

  test('is an array of struct sock_filter', () => {
    expect(Buffer.from(encodeProgram([{ code: 0x15, jt: 1, jf: 2, k: 0xc000003e }])).toString('hex')).toBe(
      '150001023e0000c0',
    );
  });

  test.each([
    [undefined, 4],
    [[], 0],
    [['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_TSYNC'], 3],
    [['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'], 36],
  ])('flags %j are %d', (flags, number) => {
    expect(compileSeccomp({ ...deny([]), ...(flags ? { flags } : {}) }).flags).toBe(number);
  });

  test('a listener needs its flag and no TSYNC', () => {
    const syscalls = [{ names: ['mount'], action: 'SCMP_ACT_NOTIFY' as const }];
    expect(compileSeccomp({ ...deny(syscalls), flags: ['SECCOMP_FILTER_FLAG_TSYNC'] }).flags).toBe(8);
  });
});

test('a machine’s own ABI is in every profile', () => {
  expect(abisOf('x86_64', []).map(({ name }) => name)).toEqual(['SCMP_ARCH_X86_64']);
  expect(abisOf('aarch64', ['SCMP_ARCH_X86', 'SCMP_ARCH_AARCH64']).map(({ name }) => name)).toEqual([
    'SCMP_ARCH_AARCH64',
  ]);
});
