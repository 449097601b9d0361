/** `linux.seccomp` (config-linux.md, "Seccomp"). */
import type { Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompRule } from '../spec-linux';
import {
  absolutePath,
  type Check,
  integer,
  list,
  nonEmpty,
  object,
  oneOf,
  refuse,
  string,
  text,
  wide64,
} from './shape';

export const SECCOMP_ACTIONS: readonly SeccompAction[] = [
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_LOG',
  'SCMP_ACT_NOTIFY',
];
export const SECCOMP_OPERATORS: readonly SeccompOperator[] = [
  ...['SCMP_CMP_NE' as const, 'SCMP_CMP_LT' as const, 'SCMP_CMP_LE' as const, 'SCMP_CMP_EQ' as const],
  ...['SCMP_CMP_GE' as const, 'SCMP_CMP_GT' as const, 'SCMP_CMP_MASKED_EQ' as const],
];
export const SECCOMP_FLAGS = ['TSYNC', 'LOG', 'SPEC_ALLOW', 'WAIT_KILLABLE_RECV'].map(
  (name) => `SECCOMP_FILTER_FLAG_${name}`,
);

/** Also those that no program here could have: profiles are written for all machines. */
const architecture = text(
  (value) => /^SCMP_ARCH_[A-Z0-9_]+$/.test(value),
  'an architecture such as "SCMP_ARCH_X86_64"',
);

/** What a program can get as an errno ends at 4095 (MAX_ERRNO); a tracer gets 16 bits. */
const errnoRet = integer(0, 0xffff);

const arg = object<SeccompArg>(
  { index: integer(0, 5), value: wide64, valueTwo: wide64, op: oneOf(...SECCOMP_OPERATORS) },
  [...['index' as const, 'value' as const, 'op' as const]],
);

const ruleShape = object<SeccompRule>(
  { names: list(nonEmpty), action: oneOf(...SECCOMP_ACTIONS), errnoRet, args: list(arg) },
  ['names', 'action'],
);

function checkErrno(action: SeccompAction, errno: number | undefined, path: string): void {
  if (errno === undefined) return;
  if (action !== 'SCMP_ACT_ERRNO' && action !== 'SCMP_ACT_TRACE') throw refuse(path, `${action} returns no errno`);
  if (action === 'SCMP_ACT_ERRNO' && errno > 4095)
    throw refuse(path, `must be an errno from 0 to 4095, found ${errno}`);
}

function rule(value: unknown, path: string): SeccompRule {
  const found = ruleShape(value, path);
  if (found.names.length === 0) throw refuse(`${path}.names`, 'must name at least one system call');
  checkErrno(found.action, found.errnoRet, `${path}.errnoRet`);
  return found;
}

const shape = object<Seccomp>(
  {
    defaultAction: oneOf(...SECCOMP_ACTIONS),
    defaultErrnoRet: errnoRet,
    architectures: list(architecture),
    flags: list(oneOf(...SECCOMP_FLAGS)),
    listenerPath: string,
    listenerMetadata: string,
    syscalls: list(rule),
  },
  ['defaultAction'],
);

export const seccomp: Check<Seccomp> = (value, path) => {
  const found = shape(value, path);
  checkErrno(found.defaultAction, found.defaultErrnoRet, `${path}.defaultErrnoRet`);
  if (found.defaultAction === 'SCMP_ACT_NOTIFY') {
    throw refuse(
      `${path}.defaultAction`,
      'SCMP_ACT_NOTIFY cannot be the default: the fd of the listener could not be handed over',
    );
  }
  found.syscalls?.forEach((one, i) => {
    if (one.action !== 'SCMP_ACT_NOTIFY') return;
    // silt hands over with sendmsg; runc writes, and refuses that.
    const needed = ['write', 'sendmsg'].find((name) => one.names.includes(name));
    if (needed) {
      throw refuse(
        `${path}.syscalls[${i}]`,
        `SCMP_ACT_NOTIFY cannot be used for the ${needed} syscall: the fd of the listener could not be handed over`,
      );
    }
    if (!found.listenerPath) {
      throw refuse(`${path}.listenerPath`, `is required: syscalls[${i}] has SCMP_ACT_NOTIFY, and somebody must answer`);
    }
  });
  if (found.listenerPath) absolutePath(found.listenerPath, `${path}.listenerPath`);
  if (found.listenerMetadata && !found.listenerPath)
    throw refuse(`${path}.listenerMetadata`, 'is for a listener, and listenerPath is missing');
  return found;
};
