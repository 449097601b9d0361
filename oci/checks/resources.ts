/** `linux.resources` (config-linux.md, "Control groups"). What the controllers make of the values is their room's concern. */
import type {
  BlockIoLimits,
  CpuLimits,
  DeviceRule,
  HugepageLimit,
  MemoryLimits,
  NetworkLimits,
  RdmaLimits,
  Resources,
  ThrottleDevice,
  WeightDevice,
} from '../spec-linux';
import {
  boolean,
  type Check,
  integer,
  int64,
  list,
  map,
  nonEmpty,
  object,
  oneOf,
  refuse,
  string,
  text,
  uint16,
  uint32,
  uint64,
} from './shape';

const accessLetters = text((value) => /^[rwma]*$/.test(value), 'made of the letters r, w and m');

/** `a` stands for nothing, as with runc: it is the type that can be all. */
const access: Check<string> = (value, path) => accessLetters(value, path).replaceAll('a', '');

/** -1, like nothing, stands for every number. */
const deviceNumber = integer(-1, 0xffffffff);

const deviceRuleShape = object<Omit<DeviceRule, 'type'> & { type?: string }>(
  { allow: boolean, type: oneOf('', 'a', 'c', 'b'), major: deviceNumber, minor: deviceNumber, access },
  ['allow'],
);

/** What stands for "every" is left out. */
function deviceRule(value: unknown, path: string): DeviceRule {
  const { type, major, minor, ...rest } = deviceRuleShape(value, path);
  return {
    ...rest,
    ...(type ? { type: type as 'a' | 'c' | 'b' } : {}),
    ...(major === undefined || major < 0 ? {} : { major }),
    ...(minor === undefined || minor < 0 ? {} : { minor }),
  };
}

const memory = object<MemoryLimits>({
  limit: int64,
  reservation: int64,
  swap: int64,
  kernel: int64,
  kernelTCP: int64,
  swappiness: uint64,
  disableOOMKiller: boolean,
  useHierarchy: boolean,
  checkBeforeUpdate: boolean,
});

/** The list format of cpuset(7), "0-3,7"; empty is how Go programs write "all". */
const cpuList = text((value) => /^(?:\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)?$/.test(value), 'a list such as "0-3,7"');

const cpu = object<CpuLimits>({
  shares: uint64,
  quota: int64,
  burst: uint64,
  period: uint64,
  realtimeRuntime: int64,
  realtimePeriod: uint64,
  cpus: cpuList,
  mems: cpuList,
  idle: int64,
});

const weightDevice = object<WeightDevice>({ major: uint32, minor: uint32, weight: uint16, leafWeight: uint16 }, [
  'major',
  'minor',
]);
const throttleDevice = object<ThrottleDevice>({ major: uint32, minor: uint32, rate: uint64 }, [
  'major',
  'minor',
  'rate',
]);

const blockIO = object<BlockIoLimits>({
  weight: uint16,
  leafWeight: uint16,
  weightDevice: list(weightDevice),
  throttleReadBpsDevice: list(throttleDevice),
  throttleWriteBpsDevice: list(throttleDevice),
  throttleReadIOPSDevice: list(throttleDevice),
  throttleWriteIOPSDevice: list(throttleDevice),
});

const pageSize = text((value) => /^[1-9]\d*[KMG]B$/.test(value), 'a page size such as "2MB"');
const hugepageLimit = object<HugepageLimit>({ pageSize, limit: uint64 }, ['pageSize', 'limit']);

const network = object<NetworkLimits>({
  classID: uint32,
  priorities: list(object({ name: nonEmpty, priority: uint32 }, ['name', 'priority'])),
});

const rdma = object<RdmaLimits>({ hcaHandles: uint32, hcaObjects: uint32 });

/** Names of files in a cgroup directory, which a value must not lead out of. */
function unified(value: unknown, path: string): Record<string, string> {
  const files = map(string)(value, path);
  for (const name of Object.keys(files)) {
    if (!/^\w+(?:\.\w+)+$/.test(name))
      throw refuse(path, `${JSON.stringify(name)} is not a file of a cgroup, such as "memory.high"`);
  }
  return files;
}

export const resources: Check<Resources> = object<Resources>({
  devices: list(deviceRule),
  memory,
  cpu,
  pids: object<{ limit?: number }>({ limit: int64 }),
  blockIO,
  hugepageLimits: list(hugepageLimit),
  network,
  rdma: map(rdma),
  unified,
});
