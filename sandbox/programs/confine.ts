import { allowOnly } from '../../oci';
import { C, capset, chdir, flags, flagsOf, mount, pivotRoot, prctl, type ProgramBuilder, umount } from '../../syscall';

/** What the interpreter itself calls at a program's end: exit_group, and sendto for the record of a failure (docs/syscall-programs.md). */
const BY_INTERPRETER = ['exit_group', 'sendto'];

/**
 * From here on the process that is being built, and every one that it clones, can make the system calls that the rest of its program
 * has, and no other: anything else kills it. The filter is derived from the program, so it cannot allow too little, and
 * allows too much only by what names alone cannot tell.
 *
 * Not for a process that is to become a program of somebody else's: a filter stays for life (seccomp(2)).
 */
export function confine(p: ProgramBuilder): void {
  p.step('confining itself to the calls that follow');
  prctl(p, 'PR_SET_NO_NEW_PRIVS', 1);
  const fprog = p.space(16, '{the calls that follow}');
  const { SECCOMP_FILTER_FLAG_SPEC_ALLOW: allow } = C;
  p.call('seccomp', [flags('SECCOMP_SET_MODE_FILTER'), flagsOf('SECCOMP_FILTER_FLAG_', allow), fprog]);
  p.whenBuilt((calls) => {
    const bpf = allowOnly([...new Set([...calls.map(({ name }) => name), ...BY_INTERPRETER])], p.arch);
    p.setU32(fprog, bpf.length / 8);
    p.pointer(fprog.plus(8, 8), p.bytes(bpf, `bpf[${bpf.length / 8}]`));
  });
}

export type Capability = Extract<keyof typeof C, `CAP_${string}`>;

/** Bit n is capability n. */
export function capabilityMask(names: readonly Capability[]): bigint {
  return names.reduce((bits, name) => bits | (1n << BigInt(C[name])), 0n);
}

/** Leaves the process these capabilities and no others. What the kernel does in its name later, as for an overlay, is held to them too. */
export function keepOnly(p: ProgramBuilder, mask: bigint): void {
  capset(p, { effective: mask, permitted: mask, inheritable: 0n });
}

/** The root of a process that makes nothing in it, and of one that does. */
const EMPTY_ROOT = { flags: 'MS_NOSUID|MS_NODEV|MS_NOEXEC|MS_RDONLY', options: 'mode=500,size=4k' };
const WRITABLE_ROOT = { flags: 'MS_NOSUID|MS_NODEV|MS_NOEXEC', options: 'mode=700,size=64k' };

/** Leaves nothing but an empty tmpfs as root, in a mount namespace of its own. */
export function leaveHostFilesystem(p: ProgramBuilder, root: 'empty' | 'writable'): void {
  const { flags: how, options } = root === 'empty' ? EMPTY_ROOT : WRITABLE_ROOT;
  p.step('leaving the host’s filesystem');
  mount(p, 'none', '/', null, 'MS_REC|MS_PRIVATE');
  // /proc is a directory on every host; what is mounted there goes with the rest of the old root.
  mount(p, 'silt', '/proc', 'tmpfs', how, options);
  chdir(p, '/proc');
  pivotRoot(p, '.', '.');
  umount(p, '.');
  chdir(p, '/');
}
