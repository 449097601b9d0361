/**
 * What an engine keeps of a container that has ended, its next start goes on with: a seed that is there already must not come over what
 * the container has written since. So the root of an upper of the engine's has a mark, which no archive has and only host root can set.
 */
import { type Kernel, ProgramBuilder } from '../../syscall';

const NAME = 'trusted.silt.seeded';

/** Has the upper been filled before? @param directory an fd of its root */
export function isSeeded(kernel: Kernel, directory: number): boolean {
  const p = new ProgramBuilder();
  const size = p.slot('size');
  p.step('looking whether the upper has its seed');
  p.call('fgetxattr', [directory, p.string(NAME), 0, 0], { out: size, tolerate: ['ENODATA', 'EOPNOTSUPP'] });
  return kernel.run(p.build()).get(size) >= 0;
}

/** Notes that it has been. On a filesystem without such attributes nothing can be noted, and nothing is. */
export function markSeeded(kernel: Kernel, directory: number): void {
  const p = new ProgramBuilder();
  p.step('noting that the upper has its seed');
  p.call('fsetxattr', [directory, p.string(NAME), p.string('y'), 1, 0], { tolerate: ['EOPNOTSUPP'] });
  kernel.run(p.build());
}
