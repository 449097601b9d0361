/** `process` of the spec (config.md, "Process"). */
import { RLIMIT_NAMES } from '../process';
import { cpuMask } from '../scheduling';
import type { Box, Capabilities, CpuAffinity, IoPriority, Process, Rlimit, Scheduler, User } from '../spec';
import {
  absolutePath,
  boolean,
  type Check,
  integer,
  invalid,
  list,
  nonEmpty,
  object,
  oneOf,
  refuse,
  string,
  uint16,
  text,
  wide64,
} from './shape';

/** 2^32-1 is (uid_t) -1, which setresuid(2) takes for "leave it". */
const id = integer(0, 0xfffffffe);

const box = object<Box>({ height: uint16, width: uint16 }, ['height', 'width']);

const userShape = object<Partial<User>>({ uid: id, gid: id, umask: integer(0, 0o777), additionalGids: list(id) });

/** An id that is not given is 0, as every runtime has it. */
function user(value: unknown, path: string): User {
  return { uid: 0, gid: 0, ...userShape(value, path) };
}

const env = text((value) => value.indexOf('=') > 0, 'a NAME=value with a name');

/** A name that nobody knows is no error: see unknownCapabilities. */
const capabilityNames = list(nonEmpty);
const capabilitySets = object<Capabilities>({
  bounding: capabilityNames,
  effective: capabilityNames,
  inheritable: capabilityNames,
  permitted: capabilityNames,
  ambient: capabilityNames,
});

function capabilities(value: unknown, path: string): Capabilities {
  const sets = capabilitySets(value, path);
  const permitted = sets.permitted ?? [];
  sets.effective?.forEach((name, i) => {
    if (!permitted.includes(name))
      throw refuse(`${path}.effective[${i}]`, `${name} is effective but not among the permitted ones`);
  });
  return sets;
}

const rlimitShape = object<Rlimit>({ type: oneOf(...RLIMIT_NAMES), hard: wide64, soft: wide64 }, [
  'type',
  'hard',
  'soft',
]);

function rlimit(value: unknown, path: string): Rlimit {
  const limit = rlimitShape(value, path);
  if (limit.soft > limit.hard)
    throw refuse(path, `the soft limit ${limit.soft} of ${limit.type} is above the hard limit ${limit.hard}`);
  return limit;
}

function rlimits(value: unknown, path: string): Rlimit[] {
  const limits = list(rlimit)(value, path);
  limits.forEach(({ type }, i) => {
    const first = limits.findIndex((one) => one.type === type);
    if (first !== i) throw refuse(`${path}[${i}]`, `${type} is limited twice, first at ${path}[${first}]`);
  });
  return limits;
}

const POLICIES = ['SCHED_OTHER', 'SCHED_FIFO', 'SCHED_RR', 'SCHED_BATCH', 'SCHED_ISO', 'SCHED_IDLE', 'SCHED_DEADLINE'];
function cpuList(value: unknown, path: string): string {
  const list = nonEmpty(value, path);
  if (cpuMask(list)) return list;
  throw refuse(path, `${JSON.stringify(list)} is no list of CPUs; write it as "0-3,7"`);
}

const SCHEDULER_FLAGS = [
  ...['RESET_ON_FORK', 'RECLAIM', 'DL_OVERRUN', 'KEEP_POLICY', 'KEEP_PARAMS', 'UTIL_CLAMP_MIN', 'UTIL_CLAMP_MAX'].map(
    (name) => `SCHED_FLAG_${name}`,
  ),
];

const schedulerShape = object<Scheduler>(
  {
    policy: oneOf(...POLICIES),
    nice: integer(-20, 19),
    priority: integer(0, 99),
    flags: list(oneOf(...SCHEDULER_FLAGS)),
    runtime: wide64,
    deadline: wide64,
    period: wide64,
  },
  ['policy'],
);

/** Which attributes go with which policy (sched_setattr(2)). */
function scheduler(value: unknown, path: string): Scheduler {
  const found = schedulerShape(value, path);
  const { policy } = found;
  if (found.priority && policy !== 'SCHED_FIFO' && policy !== 'SCHED_RR') {
    throw refuse(`${path}.priority`, `is for SCHED_FIFO and SCHED_RR, and the policy is ${policy}`);
  }
  for (const key of ['runtime', 'deadline', 'period'] as const) {
    if (found[key] && policy !== 'SCHED_DEADLINE')
      throw refuse(`${path}.${key}`, `is for SCHED_DEADLINE, and the policy is ${policy}`);
  }
  return found;
}

const ioPriority = object<IoPriority>(
  { class: oneOf('IOPRIO_CLASS_RT', 'IOPRIO_CLASS_BE', 'IOPRIO_CLASS_IDLE'), priority: integer(0, 7) },
  ['class'],
);

function args(value: unknown, path: string): string[] {
  const found = list(string)(value, path);
  if (found.length === 0) throw invalid(path, found, 'a list with at least the program’s name');
  if (found[0] === '') throw invalid(`${path}[0]`, '', 'the name of a program');
  return found;
}

export const process: Check<Process> = object<Process>(
  {
    terminal: boolean,
    consoleSize: box,
    user,
    args,
    env: list(env),
    cwd: absolutePath,
    capabilities,
    rlimits,
    noNewPrivileges: boolean,
    apparmorProfile: string,
    oomScoreAdj: integer(-1000, 1000),
    scheduler,
    selinuxLabel: string,
    ioPriority,
    execCPUAffinity: object<CpuAffinity>({ initial: cpuList, final: cpuList }),
  },
  ['args', 'cwd'],
);
