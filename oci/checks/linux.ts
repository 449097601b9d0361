/** `linux` of the spec (config-linux.md), except for what has a file of its own. */
import type { Device, IntelRdt, Linux, Namespace, NetDevice, Personality, TimeOffset } from '../spec-linux';
import { idMappings } from './ids';
import { memoryPolicy } from './memory-policy';
import { resources } from './resources';
import { seccomp } from './seccomp';
import {
  absolutePath,
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
  uint32,
} from './shape';

const namespace = object<Namespace>(
  { type: oneOf('pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time'), path: string },
  ['type'],
);

function namespaces(value: unknown, path: string): Namespace[] {
  const found = list(namespace)(value, path).map((one, i) => {
    // An empty path is how Go programs write "no path".
    if (one.path === '') return { type: one.type };
    if (one.path !== undefined) absolutePath(one.path, `${path}[${i}].path`);
    return one;
  });
  found.forEach(({ type }, i) => {
    const first = found.findIndex((one) => one.type === type);
    if (first !== i) throw refuse(`${path}[${i}].type`, `${type} is listed twice, first at ${path}[${first}]`);
  });
  return found;
}

/** The kernel's device numbers: 12 bits of major, 20 of minor (MINORBITS in linux/kdev_t.h). */
const deviceShape = object<Device>(
  {
    path: absolutePath,
    type: oneOf('c', 'b', 'u', 'p'),
    major: integer(0, 0xfff),
    minor: integer(0, 0xfffff),
    fileMode: uint32,
    uid: integer(0, 0xfffffffe),
    gid: integer(0, 0xfffffffe),
  },
  ['path', 'type'],
);

function device(value: unknown, path: string): Device {
  const found = deviceShape(value, path);
  if (found.type !== 'p') {
    for (const key of ['major', 'minor'] as const) {
      if (found[key] === undefined) throw refuse(`${path}.${key}`, `is required for ${found.path}, which is no FIFO`);
    }
  }
  if (
    found.path
      .split('/')
      .slice(1)
      .some((part) => /^\.{0,2}$/.test(part))
  ) {
    throw refuse(`${path}.path`, `${JSON.stringify(found.path)} is not a path in its plainest form`);
  }
  // The type bits say what `type` says, and Docker writes them.
  return found.fileMode === undefined ? found : { ...found, fileMode: found.fileMode & 0o7777 };
}

/** dev_valid_name in net/core/dev.c; IFNAMSIZ counts the NUL. */
function interfaceName(value: unknown, path: string): string {
  const name = string(value, path);
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > 15 || name === '.' || name === '..' || /[/:\s]/.test(name)) {
    throw refuse(path, `${JSON.stringify(name)} is not a name that the kernel takes for a network interface`);
  }
  return name;
}

function netDevices(value: unknown, path: string): Record<string, NetDevice> {
  const devices = map(object<NetDevice>({ name: interfaceName }))(value, path);
  for (const name of Object.keys(devices)) interfaceName(name, path);
  return devices;
}

function closID(value: unknown, path: string): string {
  const name = nonEmpty(value, path);
  if (name === '.' || name === '..' || (name.length > 1 && name.includes('/'))) {
    throw refuse(path, `${JSON.stringify(name)} is not the name of a directory of resctrl`);
  }
  return name;
}

const intelRdt = object<IntelRdt>({
  closID,
  schemata: list(string),
  l3CacheSchema: string,
  memBwSchema: string,
  enableCMT: boolean,
  enableMBM: boolean,
  enableMonitoring: boolean,
});

const timeOffset = object<TimeOffset>({ secs: int64, nanosecs: integer(0, 999_999_999) });

function timeOffsets(value: unknown, path: string): Record<string, TimeOffset> {
  const offsets = map(timeOffset)(value, path);
  for (const clock of Object.keys(offsets)) oneOf('monotonic', 'boottime')(clock, path);
  return offsets;
}

const propagations = ['private', 'slave', 'shared', 'unbindable'].flatMap((name) => [name, `r${name}`]);

export const linux: Check<Linux> = object<Linux>({
  uidMappings: idMappings,
  gidMappings: idMappings,
  sysctl: map(string),
  resources,
  cgroupsPath: string,
  namespaces,
  devices: list(device),
  netDevices,
  seccomp,
  rootfsPropagation: oneOf('', ...propagations),
  maskedPaths: list(absolutePath),
  readonlyPaths: list(absolutePath),
  mountLabel: string,
  intelRdt,
  memoryPolicy,
  personality: object<Personality>({ domain: oneOf('LINUX', 'LINUX32'), flags: list(string) }, ['domain']),
  timeOffsets,
});
