import { limitProperties } from './properties';
import type { Value } from './wire';

const INFINITY = 2n ** 64n - 1n;

function propertiesOf(files: Readonly<Record<string, string>>, inForce = {}): Record<string, Value> {
  const writes = Object.entries(files).map(([name, value]) => ({ file: `/sys/fs/cgroup/x.scope/${name}`, value }));
  return Object.fromEntries(limitProperties(writes, inForce).map(([name, { value }]) => [name, value]));
}

test.each<[string, Record<string, string>, Record<string, Value>]>([
  ['nothing', {}, {}],
  [
    'amounts',
    { 'memory.max': '100', 'memory.low': '50', 'memory.swap.max': '0', 'pids.max': '7', 'cpu.weight': '39' },
    { MemoryMax: 100n, MemoryLow: 50n, MemorySwapMax: 0n, TasksMax: 7n, CPUWeight: 39n },
  ],
  ['no limits', { 'memory.max': 'max', 'pids.max': 'max' }, { MemoryMax: INFINITY, TasksMax: INFINITY }],
  [
    'a quota, in steps of 10 ms a second',
    { 'cpu.max': '4001 10000' },
    { CPUQuotaPeriodUSec: 10_000n, CPUQuotaPerSecUSec: 410_000n },
  ],
  ['a quota of the usual period', { 'cpu.max': '50000' }, { CPUQuotaPerSecUSec: 500_000n }],
  ['no quota', { 'cpu.max': 'max 100000' }, { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: INFINITY }],
  [
    'CPUs',
    { 'cpuset.cpus': '0-2,17', 'cpuset.mems': '0' },
    { AllowedCPUs: Buffer.from([7, 0, 2]), AllowedMemoryNodes: Buffer.from([1]) },
  ],
  ['more CPUs than there can be', { 'cpuset.cpus': '0-4000000000' }, {}],
  ['what is inherited again', { 'cpuset.cpus': '' }, { AllowedCPUs: Buffer.from([]) }],
  [
    'what systemd has no word for',
    { 'cpu.max.burst': '5', 'io.max': '8:0 rbps=1', 'memory.max': '1G', 'cpu.max': '5 0' },
    {},
  ],
])('%s', (_, files, expected) => {
  expect(propertiesOf(files)).toEqual(expected);
});

test.each<[string, Record<string, string>, object, Record<string, Value>]>([
  [
    'amounts',
    { 'memory.limit_in_bytes': '100', 'cpu.shares': '512', 'blkio.bfq.weight': '70' },
    {},
    { MemoryLimit: 100n, CPUShares: 512n, BlockIOWeight: 70n },
  ],
  ['no limit', { 'memory.limit_in_bytes': '-1' }, {}, { MemoryLimit: INFINITY }],
  [
    'a quota and its period',
    { 'cpu.cfs_quota_us': '5000', 'cpu.cfs_period_us': '10000' },
    { quota: 1n, period: 2n },
    { CPUQuotaPeriodUSec: 10_000n, CPUQuotaPerSecUSec: 500_000n },
  ],
  [
    'a quota of the period in force',
    { 'cpu.cfs_quota_us': '5000' },
    { period: 50_000n },
    { CPUQuotaPeriodUSec: 50_000n, CPUQuotaPerSecUSec: 100_000n },
  ],
  [
    'a period under the quota in force',
    { 'cpu.cfs_period_us': '10000' },
    { quota: 5000n },
    { CPUQuotaPeriodUSec: 10_000n, CPUQuotaPerSecUSec: 500_000n },
  ],
  ['no quota', { 'cpu.cfs_quota_us': '-1' }, {}, { CPUQuotaPeriodUSec: 100_000n, CPUQuotaPerSecUSec: INFINITY }],
  ['every device', { 'devices.allow': 'a *:* rwm' }, {}, { DeviceAllow: [], DevicePolicy: 'auto' }],
  ['no device', { 'devices.deny': 'a *:* rwm' }, {}, { DeviceAllow: [], DevicePolicy: 'strict' }],
])('of v1: %s', (_, files, inForce, expected) => {
  expect(propertiesOf(files, inForce)).toEqual(expected);
});

describe('devices of v1', () => {
  const told = (...rules: readonly (readonly [verb: string, value: string])[]): unknown =>
    limitProperties(rules.map(([verb, value]) => ({ file: `/sys/fs/cgroup/devices/x.scope/devices.${verb}`, value })));

  test('a list of what is allowed, but for numbers in every major', () => {
    const rules = ['c 10:229 rw', 'b 8:* r', 'c *:* m', 'c *:7 r'].map((rule) => ['allow', rule] as const);
    expect(told(['deny', 'a *:* rwm'], ...rules)).toEqual([
      ['DeviceAllow', { signature: 'a(ss)', value: [] }],
      ['DevicePolicy', { signature: 's', value: 'strict' }],
      [
        'DeviceAllow',
        {
          signature: 'a(ss)',
          value: [
            ['/dev/char/10:229', 'rw'],
            ['block-8', 'r'],
            ['char-*', 'm'],
          ],
        },
      ],
    ]);
  });

  test('a list of what is denied is refused', () => {
    expect(() => told(['allow', 'a *:* rwm'], ['deny', 'c 1:11 rwm'])).toThrow('systemd takes no list of devices');
  });
});
