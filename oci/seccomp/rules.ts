import { C } from '../../syscall';
import type { Seccomp, SeccompAction, SeccompArg, SeccompRule } from '../spec-linux';

/** What a filter does about one system call. Values are what it returns (SECCOMP_RET_* with its data). */
export interface SyscallRules {
  /** Whatever the arguments are. */
  readonly always: number | undefined;
  /** Tried in order, the first whose conditions all hold; none holds: the default. Empty when there is `always`. */
  readonly conditional: readonly ConditionalRule[];
}

export interface ConditionalRule {
  readonly args: readonly SeccompArg[];
  readonly returns: number;
}

const EPERM = 1;

const ACTIONS: Readonly<Record<SeccompAction, number>> = {
  SCMP_ACT_KILL: C.SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_THREAD: C.SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_PROCESS: C.SECCOMP_RET_KILL_PROCESS,
  SCMP_ACT_TRAP: C.SECCOMP_RET_TRAP,
  SCMP_ACT_ERRNO: C.SECCOMP_RET_ERRNO,
  SCMP_ACT_TRACE: C.SECCOMP_RET_TRACE,
  SCMP_ACT_ALLOW: C.SECCOMP_RET_ALLOW,
  SCMP_ACT_LOG: C.SECCOMP_RET_LOG,
  SCMP_ACT_NOTIFY: C.SECCOMP_RET_USER_NOTIF,
};

/** What a filter returns for an action; the errno is EPERM unless the spec gives one. */
export function returnValue(action: SeccompAction, errno = EPERM): number {
  const takesErrno = action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE';
  return takesErrno ? ACTIONS[action] + errno : ACTIONS[action];
}

/** Whether the kernel puts `action` before `other` or level with it: the lower as a signed number, the stricter (seccomp(2)). */
export function isAtMost(action: number, other: number): boolean {
  return ((action & C.SECCOMP_RET_ACTION_FULL) | 0) <= ((other & C.SECCOMP_RET_ACTION_FULL) | 0);
}

/**
 * The rules of a profile by system call, as runc with libseccomp takes them:
 * - a rule that does what happens by default anyway is left out;
 * - a rule without conditions says all there is to say about its system calls: those with conditions do not count, whether
 *   they come before or after it, and of several the first counts;
 * - a rule with two conditions on the same argument means either of its conditions, all others mean all of theirs.
 *
 * Where the conditions of two rules hold at once, the first rule of the profile counts; libseccomp leaves that open.
 */
export function rulesByName(seccomp: Seccomp): Map<string, SyscallRules> {
  const byDefault = returnValue(seccomp.defaultAction, seccomp.defaultErrnoRet);
  const rules = new Map<string, SyscallRules>();
  for (const rule of seccomp.syscalls ?? []) {
    const returns = returnValue(rule.action, rule.errnoRet);
    if (returns === byDefault) continue;
    const conditional = conditionsOf(rule).map((args) => ({ args, returns }));
    for (const name of rule.names) {
      const before = rules.get(name);
      if (before?.always !== undefined) continue;
      if (conditional.length === 0) rules.set(name, { always: returns, conditional });
      else rules.set(name, { always: undefined, conditional: [...(before?.conditional ?? []), ...conditional] });
    }
  }
  return rules;
}

function conditionsOf({ args = [] }: SeccompRule): (readonly SeccompArg[])[] {
  if (args.length === 0) return [];
  const indexes = new Set(args.map(({ index }) => index));
  return indexes.size === args.length ? [args] : args.map((arg) => [arg]);
}
