import { type Addr, type CallOptions, type Fd, Named, type ProgramBuilder, type Slot, Word } from '../builder';
import { C } from '../constants';
import { flags, flagsOf, NULL } from './flags';

export interface ForkOptions {
  /** CLONE_NEW* and CLONE_PARENT, as an expression such as `CLONE_NEWPID|CLONE_NEWNS`. */
  readonly flags?: string;
  /** Ask for a pidfd of the child; the returned word holds it in the parent. */
  readonly pidfd?: boolean;
  /** An fd of a directory of the unified cgroup hierarchy that the child begins in (Linux 5.7). */
  readonly cgroup?: Slot;
}

/**
 * clone3(2) without shared memory. `body` adds what the child runs; it must end in {@link exit} or an execve, and if it
 * does not the child exits with 0. The parent goes on behind it.
 * Returns the slot with the child's pid (as the parent's pid namespace numbers it) and the word with the pidfd.
 */
export function fork(
  p: ProgramBuilder,
  name: string,
  options: ForkOptions,
  body: () => void,
): { pid: Slot; pidfd: Word } {
  const pid = p.slot(`${name}_pid`);
  const pidfdAt = p.space(8, `${name}_pidfd`);
  const into = options.cgroup === undefined ? undefined : 'CLONE_INTO_CGROUP';
  const expression = [options.flags, options.pidfd ? 'CLONE_PIDFD' : undefined, into].filter(Boolean).join('|');
  const cloneFlags = expression === '' ? new Named(0, '0') : flags(expression);
  // CLONE_PARENT takes the exit signal of the caller and insists on 0 here (clone(2)).
  const exitSignal = expression.includes('CLONE_PARENT') ? 0 : C.SIGCHLD;
  const args = p.space(88, `{flags=${cloneFlags.text}, exit_signal=${exitSignal === 0 ? '0' : 'SIGCHLD'}}`);
  p.setU64(args, BigInt(cloneFlags.value));
  if (options.pidfd) p.pointer(args.plus(8, 8), pidfdAt);
  p.setU64(args.plus(32), exitSignal);
  if (options.cgroup !== undefined) p.slotAt(args.plus(80, 8), options.cgroup, 64);
  p.call('clone3', [args, 88], { out: pid });
  const parent = p.label();
  p.jumpIfNotZero(pid, parent);
  p.inProcess(name, () => {
    body();
    exit(p, 0);
  });
  p.place(parent);
  return { pid, pidfd: new Word(pidfdAt.offset, 32, `${name}_pidfd`) };
}

export function exit(p: ProgramBuilder, status: number): void {
  p.call('exit_group', [status]);
}

/** waitid(2) for one child by pid; fails with the note's error when the child did not exit with 0, through {@link expectZero}. */
export function waitForChild(p: ProgramBuilder, pid: Slot): Word {
  const info = p.space(128, 'siginfo');
  p.call('waitid', [flags('P_PID'), pid, info, flags('WEXITED'), NULL], { retry: true });
  // si_status of a SIGCHLD siginfo lies at offset 24 on 64-bit architectures.
  return new Word(info.offset + 24, 32, 'status');
}

/** setns(2) with an fd of a namespace or a pidfd (Linux 5.8). */
export function setns(p: ProgramBuilder, fd: Fd, kinds: string, options: CallOptions = {}): void {
  p.call('setns', [fd, flags(kinds)], options);
}

export function unshare(p: ProgramBuilder, kinds: string): void {
  p.call('unshare', [flags(kinds)]);
}

export function prctl(
  p: ProgramBuilder,
  option: string,
  arg: number | Addr | Named = 0,
  options: CallOptions & { arg3?: number | Addr } = {},
): void {
  p.call('prctl', [flags(option), arg, options.arg3 ?? 0, 0, 0], options);
}

/** execve(2). Comes back only on failure, so the slot holds the errno; success closes the report socket. */
export function execve(
  p: ProgramBuilder,
  path: string,
  argv: readonly string[],
  env: readonly string[],
  options: CallOptions = {},
): void {
  p.call('execve', [p.string(path), p.stringArray(argv), p.stringArray(env)], options);
}

/** execveat(2) of an open file with AT_EMPTY_PATH. */
export function execveat(p: ProgramBuilder, fd: Fd, argv: readonly string[], env: readonly string[]): void {
  p.call('execveat', [fd, p.string(''), p.stringArray(argv), p.stringArray(env), flags('AT_EMPTY_PATH')]);
}

/** prlimit(2) on the caller; `hard` and `soft` as the kernel's u64, RLIM_INFINITY being 2^64-1. */
export function setRlimit(p: ProgramBuilder, resource: number, name: string, soft: bigint, hard: bigint): void {
  const limit = p.space(16, `{${soft}, ${hard}}`);
  p.setU64(limit, soft);
  p.setU64(limit.plus(8), hard);
  p.call('prlimit64', [0, new Named(resource, name), limit, NULL]);
}

/** setresuid(2), setresgid(2), setgroups(2) in the order that keeps the right to make the next call. */
export function setIds(p: ProgramBuilder, uid: number, gid: number, groups: readonly number[] | null): void {
  if (groups !== null) {
    const list = p.space(Math.max(groups.length * 4, 4), JSON.stringify(groups));
    groups.forEach((group, i) => p.setU32(list.plus(i * 4), group));
    p.call('setgroups', [groups.length, list]);
  }
  p.call('setresgid', [gid, gid, gid]);
  p.call('setresuid', [uid, uid, uid]);
}

export interface CapabilityMasks {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
}

/** capset(2), version 3 layout. */
export function capset(p: ProgramBuilder, masks: CapabilityMasks): void {
  const header = p.space(8, '{_LINUX_CAPABILITY_VERSION_3, 0}');
  p.setU32(header, 0x20080522);
  const hex = (mask: bigint): string => `0x${mask.toString(16)}`;
  const data = p.space(24, `{e=${hex(masks.effective)}, p=${hex(masks.permitted)}, i=${hex(masks.inheritable)}}`);
  for (const half of [0, 1]) {
    const part = (mask: bigint): number => Number((mask >> BigInt(32 * half)) & 0xffffffffn);
    p.setU32(data.plus(half * 12), part(masks.effective));
    p.setU32(data.plus(half * 12 + 4), part(masks.permitted));
    p.setU32(data.plus(half * 12 + 8), part(masks.inheritable));
  }
  p.call('capset', [header, data]);
}

/** seccomp(2) SECCOMP_SET_MODE_FILTER with a compiled classic BPF program. */
export function setSeccompFilter(
  p: ProgramBuilder,
  bpf: Uint8Array,
  filterFlags: number,
  options: CallOptions = {},
): void {
  const program = p.bytes(bpf, `bpf[${bpf.length / 8}]`);
  const fprog = p.space(16, `{${bpf.length / 8}, bpf}`);
  p.setU32(fprog, bpf.length / 8);
  p.pointer(fprog.plus(8, 8), program);
  p.call('seccomp', [flags('SECCOMP_SET_MODE_FILTER'), flagsOf('SECCOMP_FILTER_FLAG_', filterFlags), fprog], options);
}
