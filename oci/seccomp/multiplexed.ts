import type { SeccompArg } from '../spec-linux';
import type { Abi } from './abis';
import { isAtMost, type SyscallRules } from './rules';

/** System calls that i386 programs also make through another one, by what its first argument is then. */
interface Multiplexer {
  readonly name: string;
  /** The bits of the first argument that say which (sys_ipc in ipc/syscall.c has a version in the others). */
  readonly mask: number;
  readonly calls: Readonly<Record<string, number>>;
}

const MULTIPLEXERS: readonly Multiplexer[] = [
  {
    // linux/net.h
    name: 'socketcall',
    mask: 0xffffffff,
    calls: {
      ...{
        socket: 1,
        bind: 2,
        connect: 3,
        listen: 4,
        accept: 5,
        getsockname: 6,
        getpeername: 7,
        socketpair: 8,
        send: 9,
      },
      ...{ recv: 10, sendto: 11, recvfrom: 12, shutdown: 13, setsockopt: 14, getsockopt: 15, sendmsg: 16, recvmsg: 17 },
      ...{ accept4: 18, recvmmsg: 19, sendmmsg: 20 },
    },
  },
  {
    // linux/ipc.h
    name: 'ipc',
    mask: 0xffff,
    calls: {
      ...{ semop: 1, semget: 2, semctl: 3, semtimedop: 4, msgsnd: 11, msgrcv: 12, msgget: 13, msgctl: 14 },
      ...{ shmat: 21, shmdt: 22, shmget: 23, shmctl: 24 },
    },
  },
];

/**
 * What rules for `socket` and the like mean for `socketcall` and `ipc`, by the name of the latter.
 *
 * The arguments of the call lie in memory there, where no filter can see them. A rule that has conditions on them is
 * therefore kept without the conditions when it is at least as strict as the default action, and not at all otherwise:
 * what cannot be checked is denied. A rule for the multiplexer itself that has no conditions says all there is to say.
 */
export function multiplexedRules(
  abi: Abi,
  rules: ReadonlyMap<string, SyscallRules>,
  byDefault: number,
): Map<string, SyscallRules> {
  const result = new Map<string, SyscallRules>();
  if (abi.name !== 'SCMP_ARCH_X86') return result;
  for (const { name, mask, calls } of MULTIPLEXERS) {
    const own = rules.get(name);
    if (own?.always !== undefined) continue;
    const conditional = [...(own?.conditional ?? [])];
    for (const [call, code] of Object.entries(calls)) {
      const found = rules.get(call);
      if (!found) continue;
      const args: SeccompArg[] = [{ index: 0, op: 'SCMP_CMP_MASKED_EQ', value: mask, valueTwo: code }];
      if (found.always !== undefined) conditional.push({ args, returns: found.always });
      else {
        const strict = found.conditional.find(({ returns }) => isAtMost(returns, byDefault));
        if (strict) conditional.push({ args, returns: strict.returns });
      }
    }
    if (conditional.length > 0) result.set(name, { always: undefined, conditional });
  }
  return result;
}
