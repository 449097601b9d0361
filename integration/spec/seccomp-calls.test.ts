/** Every action and operator of `linux.seccomp` (config-linux.md, "Seccomp"), by the calls of a program inside; the same under runc. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostArch, syscallNumbers } from '../../syscall';
import { commandLineSuite, mustRun, type Runtime } from '../harness';

interface Arg {
  readonly index: number;
  readonly op: string;
  readonly value: bigint;
  readonly valueTwo?: bigint;
}

interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly Arg[];
}

interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly syscalls: readonly Rule[];
}

const allowBut = (...syscalls: Rule[]): Profile => ({ defaultAction: 'SCMP_ACT_ALLOW', syscalls });

/** A call as the program is told it; `t` before it is one under a tracer. */
const asked = (name: string, ...args: bigint[]): string => [syscallNumbers(hostArch)[name], ...args].join(',');

/** More than a JavaScript number holds, with something in both halves. */
const BIG = 0x8000_0001_0000_0003n;

/** What each operator says of an argument, as config-linux.md and seccomp_rule_add(3) have it. */
const OPERATORS: readonly (readonly [string, (value: bigint) => boolean, Omit<Arg, 'op' | 'index'>])[] = [
  ['SCMP_CMP_NE', (value) => value !== BIG, { value: BIG }],
  ['SCMP_CMP_LT', (value) => value < BIG, { value: BIG }],
  ['SCMP_CMP_LE', (value) => value <= BIG, { value: BIG }],
  ['SCMP_CMP_EQ', (value) => value === BIG, { value: BIG }],
  ['SCMP_CMP_GE', (value) => value >= BIG, { value: BIG }],
  ['SCMP_CMP_GT', (value) => value > BIG, { value: BIG }],
  [
    'SCMP_CMP_MASKED_EQ',
    (value) => (value & 0xf000_0000_0000_000fn) === 0x8000_0000_0000_0003n,
    { value: 0xf000_0000_0000_000fn, valueTwo: 0x8000_0000_0000_0003n },
  ],
];

/** On every side of it, also by one half only: a comparison of 32 bits would not tell some of these apart. */
const VALUES = [0n, 3n, BIG - 1n, BIG, BIG + 1n, BIG - (1n << 32n), BIG + (1n << 32n) - 1n, (1n << 64n) - 1n];

commandLineSuite('seccomp, call by call', (host) => {
  let program: string;
  beforeAll(async () => {
    program = join(host().rootfs, 'bin/calls');
    const source = join(__dirname, 'seccomp-calls.c');
    await mustRun(['gcc', '-O1', '-static', '-pthread', '-o', program, source]);
  });

  /** What came of each of these calls, under one of the runtimes. */
  async function outcomes(runtime: Runtime, profile: Profile, calls: readonly string[]): Promise<string[]> {
    const bundle = host().bundle(['calls', ...calls], { linux: { seccomp: '@' } });
    const config = join(bundle, 'config.json');
    // Numbers of 64 bits as such, which JSON.stringify does not write.
    const text = JSON.stringify(profile, (_, value: unknown) => (typeof value === 'bigint' ? `#${value}` : value));
    const seccomp = text.replace(/"#(\d+)"/g, '$1');
    writeFileSync(
      config,
      readFileSync(config, 'utf8').replace('"@"', () => seccomp),
    );
    return (await runtime.must(['run', '--bundle', bundle, host().newId()])).trim().split(/\r?\n/);
  }

  async function expectOfBoth(profile: Profile, cases: readonly (readonly [string, string])[]): Promise<void> {
    const calls = cases.map(([call]) => call);
    const expected = cases.map(([call, outcome]) => `${call}: ${outcome}`);
    for (const runtime of [host().silt, host().runc]) {
      const came = await outcomes(runtime, profile, calls);
      expect(calls.map((call, i) => `${call}: ${came[i]}`)).toEqual(expected);
    }
  }

  test('each action', async () => {
    const of = (name: string, action: string, errnoRet?: number): Rule => ({
      names: [name],
      action: `SCMP_ACT_${action}`,
      ...(errnoRet === undefined ? {} : { errnoRet }),
    });
    const rules = [
      of('getpriority', 'KILL_PROCESS'),
      of('getpgid', 'KILL_THREAD'),
      of('getsid', 'KILL'),
      of('getuid', 'TRAP'),
      of('geteuid', 'ERRNO'),
      of('getgid', 'ERRNO', 122),
      of('getegid', 'TRACE', 77),
      of('sched_yield', 'LOG'),
      of('umask', 'TRACE'),
      of('setuid', 'ERRNO', 0),
    ];
    await expectOfBoth(allowBut(...rules), [
      [asked('getpriority'), 'signal 31'],
      [asked('getpgid'), 'thread'],
      [asked('getsid'), 'thread'],
      [asked('getuid'), 'trap 0'],
      [asked('geteuid'), 'errno 1'],
      [asked('getgid'), 'errno 122'],
      // Nobody traces it (seccomp(2)).
      [asked('getegid'), 'errno 38'],
      [`t${asked('getegid')}`, 'traced 77'],
      [`t${asked('umask')}`, 'traced 1'],
      [asked('sched_yield'), '0'],
      // The call is not made, and has succeeded.
      [asked('setuid', 1n), '0'],
      [asked('gettid'), 'made'],
    ]);
  });

  // getuid(2) and its like take no arguments; what is in their registers a filter sees all the same.
  test.each(OPERATORS)('%s compares all 64 bits', async (op, holds, operands) => {
    const profile = allowBut({
      names: ['getuid'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: 99,
      args: [{ index: 1, op, ...operands }],
    });
    await expectOfBoth(
      profile,
      VALUES.map((value) => [asked('getuid', BIG, value), holds(value) ? 'errno 99' : '0']),
    );
  });

  test('of several arguments all must hold, of several conditions on one any', async () => {
    const equal = (index: number, value: bigint): Arg => ({ index, op: 'SCMP_CMP_EQ', value });
    const profile = allowBut(
      { names: ['getuid'], action: 'SCMP_ACT_ERRNO', errnoRet: 99, args: [equal(0, 1n), equal(5, 2n)] },
      { names: ['getgid'], action: 'SCMP_ACT_ERRNO', errnoRet: 99, args: [equal(0, 1n), equal(0, 2n)] },
      { names: ['getegid'], action: 'SCMP_ACT_ERRNO', errnoRet: 99, args: [equal(0, 1n)] },
      { names: ['getegid'], action: 'SCMP_ACT_ERRNO', errnoRet: 98, args: [equal(0, 2n)] },
    );
    await expectOfBoth(profile, [
      [asked('getuid', 1n, 0n, 0n, 0n, 0n, 2n), 'errno 99'],
      [asked('getuid', 1n, 0n, 0n, 0n, 0n, 3n), '0'],
      [asked('getuid', 2n, 0n, 0n, 0n, 0n, 2n), '0'],
      [asked('getgid', 1n), 'errno 99'],
      [asked('getgid', 2n), 'errno 99'],
      [asked('getgid', 0n), '0'],
      [asked('getegid', 1n), 'errno 99'],
      [asked('getegid', 2n), 'errno 98'],
      [asked('getegid', 3n), '0'],
    ]);
  });

  test.each<[string, Partial<Profile>, string]>([
    ['KILL_PROCESS', {}, 'signal 31'],
    ['KILL_THREAD', {}, 'thread'],
    ['TRAP', {}, 'trap 0'],
    ['ERRNO', {}, 'errno 1'],
    ['ERRNO', { defaultErrnoRet: 38 }, 'errno 38'],
    ['TRACE', { defaultErrnoRet: 77 }, 'errno 38'],
    ['LOG', {}, 'made'],
    ['ALLOW', {}, 'made'],
  ])('the default %s with %j', async (action, more, outcome) => {
    const all = Object.keys(syscallNumbers(hostArch)).filter((name) => name !== 'getpriority');
    const profile = {
      defaultAction: `SCMP_ACT_${action}`,
      ...more,
      // A rule that does what happens anyway is no rule; what is refused here is there to be told from it.
      syscalls: [
        { names: all.filter((name) => name !== 'getpgid'), action: 'SCMP_ACT_ALLOW' },
        { names: ['getpgid'], action: 'SCMP_ACT_ERRNO', errnoRet: 99 },
      ],
    };
    await expectOfBoth(profile, [
      [asked('getpriority'), outcome],
      [asked('getpgid'), 'errno 99'],
    ]);
  });
});
