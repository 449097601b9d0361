import { type Arch, C, syscallNumbers } from '../../syscall';

/** A way to make system calls: what a filter sees as `arch`, and what the numbers mean then. */
export interface Abi {
  /** As the spec names it. */
  readonly name: string;
  readonly audit: number;
  /** Arguments are compared with all of their 64 bits; otherwise with 32, also those of x32, as libseccomp has it. */
  readonly wide: boolean;
  /** x32: x86_64's `arch`, told by a bit in the number. */
  readonly marked: boolean;
  readonly numbers: Readonly<Record<string, number>>;
}

/** The bit that marks x32's numbers (__X32_SYSCALL_BIT in asm/unistd.h). */
export const X32_BIT = 0x40000000;

interface Kind extends Omit<Abi, 'numbers'> {
  readonly table: Parameters<typeof syscallNumbers>[0];
}

/** The ABIs that programs on a machine can have, its own first. */
const KINDS: Readonly<Record<Arch, readonly [Kind, ...Kind[]]>> = {
  x86_64: [
    { name: 'SCMP_ARCH_X86_64', audit: C.AUDIT_ARCH_X86_64, table: 'x86_64', wide: true, marked: false },
    { name: 'SCMP_ARCH_X86', audit: C.AUDIT_ARCH_I386, table: 'i386', wide: false, marked: false },
    { name: 'SCMP_ARCH_X32', audit: C.AUDIT_ARCH_X86_64, table: 'x32', wide: false, marked: true },
  ],
  aarch64: [
    { name: 'SCMP_ARCH_AARCH64', audit: C.AUDIT_ARCH_AARCH64, table: 'aarch64', wide: true, marked: false },
    { name: 'SCMP_ARCH_ARM', audit: C.AUDIT_ARCH_ARM, table: 'arm', wide: false, marked: false },
  ],
};

/**
 * The ABIs of `arch` that a profile has: the machine's own, always, as libseccomp adds it to every filter, and the others
 * that are listed. What a profile lists for other machines makes no code: no program here can be of that kind.
 *
 * An ABI whose numbers the build machine's headers did not have is left out as if it were not listed; its programs are
 * killed at their first system call then, as libseccomp's are of an architecture that is not in the filter.
 */
export function abisOf(arch: Arch, architectures: readonly string[]): Abi[] {
  const [own, ...others] = KINDS[arch];
  const listed = others.filter(({ name }) => architectures.includes(name));
  const abis = [own, ...listed].map(({ table, ...kind }) => ({ ...kind, numbers: syscallNumbers(table) }));
  return abis.filter(({ name, numbers }) => name === own.name || Object.keys(numbers).length > 0);
}

/** Every name that a profile can give with an effect, on one kind of machine or another. */
export function knownArchitectures(): string[] {
  return Object.values(KINDS)
    .flatMap((kinds) => kinds.map(({ name }) => name))
    .sort();
}
