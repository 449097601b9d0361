/**
 * What an engine keeps of a container that has ended, its next start goes on with: a seed that is there already must not come over what
 * the container has written since. So the root of an upper of the engine's has a mark, which no archive has and only host root can set.
 * Its value says which archive the seed was.
 */
import { errnoNumber, type Kernel, ProgramBuilder } from '../../syscall';

const NAME = 'trusted.silt.seeded';
/** Longer than any identity of an archive. */
const MOST = 512;
/** An identity. An older silt wrote `y`; and who is the host's root in the container may have written anything. */
const ARCHIVE = /^(stat|digest)-[0-9a-z-]+$/;

/** What the upper has been filled from before: undefined if it has not, an empty text where that is not known. @param directory an fd of its root */
export function readMark(kernel: Kernel, directory: number): string | undefined {
  const p = new ProgramBuilder();
  const size = p.slot('size');
  const value = p.space(MOST);
  p.step('looking whether the upper has its seed');
  p.call('fgetxattr', [directory, p.string(NAME), value, MOST], {
    out: size,
    tolerate: ['ENODATA', 'EOPNOTSUPP', 'ERANGE'],
  });
  const result = kernel.run(p.build());
  const length = result.get(size);
  if (length < 0) return length === -errnoNumber('ERANGE') ? '' : undefined;
  const archive = result.at(value, length).toString('latin1');
  return ARCHIVE.test(archive) ? archive : '';
}

/** Notes what it has been filled from. On a filesystem without such attributes nothing can be noted, and nothing is. */
export function writeMark(kernel: Kernel, directory: number, archive: string): void {
  const p = new ProgramBuilder();
  const value = Buffer.from(archive, 'latin1');
  p.step('noting that the upper has its seed');
  p.call('fsetxattr', [directory, p.string(NAME), p.bytes(value), value.length, 0], { tolerate: ['EOPNOTSUPP'] });
  kernel.run(p.build());
}
