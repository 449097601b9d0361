import { limitProperties } from './properties';
import type { Value } from './wire';

const INFINITY = 2n ** 64n - 1n;

function propertiesOf(files: Readonly<Record<string, string>>): Record<string, Value> {
  const writes = Object.entries(files).map(([name, value]) => ({ file: `/sys/fs/cgroup/x.scope/${name}`, value }));
  return Object.fromEntries(limitProperties(writes).map(([name, { value }]) => [name, value]));
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
