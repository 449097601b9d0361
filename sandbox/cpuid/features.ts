import { SiltError } from '../../errors';

/**
 * The features that every CPU of the machine has, in the kernel's order: a program may run on any of them.
 * @param cpuinfo the text of /proc/cpuinfo (x86: `flags`, aarch64: `Features`). @throws SiltError HOST_UNSUPPORTED.
 */
export function cpuFeatures(cpuinfo: string): string[] {
  const [first, ...others] = [...cpuinfo.matchAll(/^(?:flags|Features)\s*: *(.*)$/gm)].map((match) =>
    match[1]!.split(/\s+/),
  );
  if (!first)
    throw new SiltError('HOST_UNSUPPORTED', '/proc/cpuinfo has no line of features', { path: '/proc/cpuinfo' });
  const sets = others.map((names) => new Set(names));
  return first.filter((name) => name !== '' && sets.every((names) => names.has(name)));
}

/** What `wanted` has and `present` lacks, in the order of `wanted`. */
export function missingFeatures(wanted: readonly string[], present: readonly string[]): string[] {
  const there = new Set(present);
  return wanted.filter((name) => !there.has(name));
}
