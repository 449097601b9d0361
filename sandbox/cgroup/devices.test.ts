import { compileDeviceProgram } from './device-program';
import { Access, ALWAYS_ALLOWED, parseDevicePolicy, type DevicePolicy, type PolicyRule } from './device-rules';
import { parseDevicesList, planDeviceTable, toDeviceTable, type DeviceTable } from './devices-v1';
import { refusal } from './refusal';
import type { DeviceRule } from '../../oci';

interface Request {
  readonly type: 'b' | 'c';
  readonly major: number;
  readonly minor: number;
  readonly access: number;
}

/** What the OCI spec's order means: for every kind of access the last rule that speaks of it. */
function decide(policy: DevicePolicy, request: Request): boolean {
  const matches = (rule: PolicyRule, bit: number): boolean =>
    rule.type === request.type &&
    (rule.major === 'any' || rule.major === request.major) &&
    (rule.minor === 'any' || rule.minor === request.minor) &&
    (rule.access & bit) !== 0;
  return [1, 2, 4]
    .filter((bit) => (request.access & bit) !== 0)
    .every((bit) => policy.rules.findLast((rule) => matches(rule, bit))?.allow ?? policy.otherwise === 'allow');
}

/** Runs the few instructions that the compiler emits; anything else, or a fall off the end, throws. */
function run(program: Uint8Array, request: Request): boolean {
  const view = new DataView(program.buffer);
  const context = [(request.access << 16) | (request.type === 'b' ? 1 : 2), request.major, request.minor];
  const registers: number[] = Array.from({ length: 11 }, () => 0);
  for (let pc = 0; pc < program.length / 8; pc++) {
    const code = view.getUint8(pc * 8);
    const destination = view.getUint8(pc * 8 + 1) & 15;
    const offset = view.getInt16(pc * 8 + 2, true);
    const immediate = view.getUint32(pc * 8 + 4, true);
    const value = registers[destination]! >>> 0;
    if (code === 0x61) registers[destination] = context[offset / 4]!;
    else if (code === 0x54) registers[destination] = value & immediate;
    else if (code === 0x74) registers[destination] = value >>> immediate;
    else if (code === 0xb4) registers[destination] = immediate;
    else if (code === 0x05) pc += offset;
    else if (code === 0x16) pc += value === immediate ? offset : 0;
    else if (code === 0x56) pc += value !== immediate ? offset : 0;
    else if (code === 0x46) pc += (value & immediate) !== 0 ? offset : 0;
    else if (code === 0x95) return registers[0] === 1;
    else throw new Error(`instruction ${pc}: unknown code ${code}`);
  }
  throw new Error('the program has no end');
}

/** What the kernel's v1 controller answers for one kind of access (security/device_cgroup.c). */
function lookUp(table: DeviceTable, request: Request): boolean {
  const keys = [request.major, '*'].flatMap((major) =>
    [request.minor, '*'].map((minor) => `${request.type} ${major}:${minor}`),
  );
  const excepted = keys.some((key) => ((table.exceptions.get(key) ?? 0) & request.access) !== 0);
  return excepted !== (table.otherwise === 'allow');
}

/** Seeded, so that a failure comes back. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

function randomPolicy(random: (below: number) => number): DevicePolicy {
  const number = (): number | 'any' => ([1, 2, 'any'] as const)[random(3)]!;
  const rules = Array.from({ length: random(9) }, () => ({
    allow: random(2) === 1,
    type: random(2) === 1 ? ('b' as const) : ('c' as const),
    major: number(),
    minor: number(),
    access: 1 + random(7),
  }));
  return { otherwise: random(2) === 1 ? 'allow' : 'deny', rules };
}

const NUMBERS = [1, 2, 3];
const requests = (accesses: readonly number[]): Request[] =>
  (['b', 'c'] as const).flatMap((type) =>
    NUMBERS.flatMap((major) => NUMBERS.flatMap((minor) => accesses.map((access) => ({ type, major, minor, access })))),
  );

const policy = (devices: readonly DeviceRule[]): DevicePolicy => parseDevicePolicy(devices, '$');
const access = (text: string): Request => {
  const [type, major, minor, bits] = text.split(/[ :]/) as ['b' | 'c', string, string, string];
  const sum =
    (bits.includes('r') ? Access.read : 0) +
    (bits.includes('w') ? Access.write : 0) +
    (bits.includes('m') ? Access.mknod : 0);
  return { type, major: Number(major), minor: Number(minor), access: sum };
};

describe('device policies', () => {
  test.each<[string, readonly DeviceRule[], Record<string, boolean>]>([
    [
      'nothing said',
      [],
      {
        'c 1:3 rw': true,
        'c 5:2 rw': true,
        'c 136:7 rw': true,
        'c 10:200 rw': true,
        'b 8:0 m': true,
        'b 8:0 r': false,
        'c 10:229 r': false,
      },
    ],
    [
      'what containerd and docker send',
      [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' },
      ],
      { 'c 10:229 rw': true, 'c 10:228 r': false, 'c 1:5 r': true },
    ],
    ['a privileged container', [{ allow: true, access: 'rwm' }], { 'b 8:0 rwm': true, 'c 200:1 rw': true }],
    [
      'privileged but for one disk',
      [
        { allow: true, access: 'rwm' },
        { allow: false, type: 'b', major: 8, minor: 0, access: 'rwm' },
      ],
      { 'b 8:0 r': false, 'b 8:0 m': false, 'b 8:1 rw': true },
    ],
    [
      'a rule for all starts anew',
      [
        { allow: true, type: 'b', major: 8, access: 'r' },
        { allow: false, type: 'a', access: 'mrw' },
      ],
      { 'b 8:0 r': false },
    ],
    [
      'all types but one number is no rule for all',
      [{ allow: true, type: 'a', major: 7, access: 'rw' }],
      { 'b 7:0 rw': true, 'c 7:1 r': true, 'b 8:0 r': false },
    ],
    [
      '-1 is any number',
      [{ allow: true, type: 'b', major: 8, minor: -1, access: 'r' }],
      { 'b 8:5 r': true, 'b 9:5 r': false },
    ],
    [
      'kinds of access from two rules add up',
      [
        { allow: true, type: 'b', major: 8, access: 'r' },
        { allow: true, type: 'b', minor: 1, access: 'w' },
      ],
      { 'b 8:1 rw': true, 'b 8:2 rw': false, 'b 8:2 r': true },
    ],
    [
      'a later rule takes back',
      [
        { allow: true, type: 'b', major: 8, minor: 1, access: 'rw' },
        { allow: false, type: 'b', major: 8, access: 'w' },
      ],
      { 'b 8:1 r': true, 'b 8:1 w': false },
    ],
  ])('%s', (_, devices, expected) => {
    const parsed = policy(devices);
    const program = compileDeviceProgram(parsed);
    const answers = Object.keys(expected).map((text) => [text, run(program, access(text))]);
    expect(Object.fromEntries(answers)).toEqual(expected);
    expect(Object.keys(expected).map((text) => [text, decide(parsed, access(text))])).toEqual(answers);
  });

  test('the list of what is always allowed is runc’s', () => {
    expect(ALWAYS_ALLOWED).toHaveLength(11);
    expect(policy([]).rules).toEqual(ALWAYS_ALLOWED);
  });
});

describe('the BPF program of v2', () => {
  test('is exact for 400 random policies', () => {
    const random = randomNumbers(1);
    const every = requests([1, 2, 3, 4, 5, 6, 7]);
    for (let round = 0; round < 400; round++) {
      const one = randomPolicy(random);
      const program = compileDeviceProgram(one);
      const wrong = every.filter((request) => run(program, request) !== decide(one, request));
      expect({ policy: one, wrong }).toEqual({ policy: one, wrong: [] });
    }
  });

  test('byte for byte: one disk denied, all else allowed', () => {
    const program = compileDeviceProgram(
      policy([
        { allow: true, access: 'rwm' },
        { allow: false, type: 'b', major: 8, access: 'w' },
      ]),
    );
    expect(Buffer.from(program).toString('hex').match(/.{16}/g)).toEqual([
      '6112000000000000', // r2 = *(u32 *)(r1 + 0)
      '54020000ffff0000', // w2 &= 0xffff
      '6113000000000000', // r3 = *(u32 *)(r1 + 0)
      '7403000010000000', // w3 >>= 16
      '6114040000000000', // r4 = *(u32 *)(r1 + 4)
      '6115080000000000', // r5 = *(u32 *)(r1 + 8)
      '5602020001000000', // if w2 != 1 goto +2
      '5604010008000000', // if w4 != 8 goto +1
      '4603020004000000', // if w3 & 4 goto +2
      'b400000001000000', // w0 = 1
      '9500000000000000', // exit
      'b400000000000000', // w0 = 0
      '9500000000000000', // exit
    ]);
  });

  test('major and minor numbers above 2^31', () => {
    const program = compileDeviceProgram(
      policy([{ allow: true, type: 'b', major: 0xffffffff, minor: 0x80000000, access: 'r' }]),
    );
    expect(run(program, { type: 'b', major: 0xffffffff, minor: 0x80000000, access: Access.read })).toBe(true);
    expect(run(program, { type: 'b', major: 0xffffffff, minor: 0, access: Access.read })).toBe(false);
  });

  test('more rules than a jump can cross are refused', () => {
    const devices = Array.from({ length: 9000 }, (_, minor): DeviceRule => ({
      allow: true,
      type: 'b',
      major: 1,
      minor,
      access: 'r',
    }));
    expect(refusal(() => compileDeviceProgram(policy(devices)))).toMatchObject({ code: 'SPEC_UNSUPPORTED' });
  });
});

describe('the device table of v1', () => {
  test('means the same as the policy, or is refused: 400 random policies', () => {
    const random = randomNumbers(2);
    const every = requests([1, 2, 4]);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const one = randomPolicy(random);
      let table: DeviceTable;
      try {
        table = toDeviceTable(one);
      } catch (error) {
        expect(error).toMatchObject({ code: 'SPEC_UNSUPPORTED' });
        refused++;
        continue;
      }
      const wrong = every.filter((request) => lookUp(table, request) !== decide(one, request));
      expect({ policy: one, wrong }).toEqual({ policy: one, wrong: [] });
    }
    expect(refused).toBeGreaterThan(20);
    expect(refused).toBeLessThan(300);
  });

  test('a new cgroup: deny all, then the spec’s rules in its order, then what is always allowed', () => {
    const table = toDeviceTable(
      policy([
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' },
        { allow: true, type: 'c', major: 1, minor: 3, access: 'r' },
      ]),
    );
    expect(planDeviceTable('/d', table, undefined).map(({ file, value }) => `${file} ${value}`)).toEqual([
      '/d/devices.deny a *:* rwm',
      '/d/devices.allow c 10:229 rwm',
      '/d/devices.allow c 1:3 rwm',
      '/d/devices.allow c *:* m',
      '/d/devices.allow b *:* m',
      '/d/devices.allow c 1:8 rwm',
      '/d/devices.allow c 1:7 rwm',
      '/d/devices.allow c 5:0 rwm',
      '/d/devices.allow c 1:5 rwm',
      '/d/devices.allow c 1:9 rwm',
      '/d/devices.allow c 136:* rwm',
      '/d/devices.allow c 5:2 rwm',
      '/d/devices.allow c 10:200 rwm',
    ]);
  });

  test('a hole in a wildcard is refused and names the rule', () => {
    const devices: DeviceRule[] = [
      { allow: true, type: 'c', major: 1, access: 'rw' },
      { allow: false, type: 'c', major: 1, minor: 11, access: 'w' },
    ];
    expect(refusal(() => toDeviceTable(policy(devices)))).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      message: '$.devices[1]: cgroup v1 cannot deny c 1:11 w inside the earlier rule for c 1:*',
    });
  });

  test('an update writes the difference only', () => {
    const present = parseDevicesList('c 1:3 rwm\nb 8:0 rw\nc *:* m\nb 9:0 r\n');
    const wanted: DeviceTable = {
      otherwise: 'deny',
      exceptions: new Map([
        ['c 1:3', 7],
        ['b 8:0', 2],
        ['c 5:5', 6],
        ['c *:*', 1],
      ]),
    };
    expect(planDeviceTable('/d', wanted, present).map(({ file, value }) => `${file} ${value}`)).toEqual([
      '/d/devices.deny b 8:0 w',
      '/d/devices.deny b 9:0 r',
      '/d/devices.allow c 5:5 rw',
    ]);
  });

  test('from a cgroup that allows all, and to one, everything is written anew', () => {
    const open = parseDevicesList('a *:* rwm\n');
    expect(open).toEqual({ otherwise: 'allow', exceptions: new Map() });
    const closed: DeviceTable = { otherwise: 'deny', exceptions: new Map([['c 1:3', 7]]) };
    const show = (wanted: DeviceTable, present: DeviceTable): string[] =>
      planDeviceTable('/d', wanted, present).map(({ file, value }) => `${file} ${value}`);
    expect(show(closed, open)).toEqual(['/d/devices.deny a *:* rwm', '/d/devices.allow c 1:3 rwm']);
    expect(show({ otherwise: 'allow', exceptions: new Map([['b 8:0', 4]]) }, closed)).toEqual([
      '/d/devices.allow a *:* rwm',
      '/d/devices.deny b 8:0 w',
    ]);
    expect(show(open, open)).toEqual(['/d/devices.allow a *:* rwm']);
  });
});
