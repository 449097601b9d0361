import { SiltError } from '../../errors';
import { idmapStep, mountOf, mountsBeneath, readMounts, sourceOfIdmapStep } from '../../gofer';
import { AT_FDCWD, cloneTree, close, type Kernel, mountSetattr, ProgramBuilder } from '../../syscall';

/**
 * The error of a volume or layer whose filesystem cannot show its files with the pod's owners, in words that say which filesystem
 * that is and what to do; any other error as it is.
 * @param userns the pod's user namespace; borrowed
 */
export function idmapFailure(kernel: Kernel, error: unknown, userns: number | undefined): unknown {
  if (!(error instanceof SiltError) || userns === undefined) return error;
  const source = sourceOfIdmapStep(error.message);
  if (source === undefined) return error;
  const mounts = readMounts();
  const own = mountOf(source, mounts);
  const culprit = [...(own ? [own] : []), ...mountsBeneath(source, mounts)].find(
    ({ point }) => !canBeIdmapped(kernel, point, userns),
  );
  const where = culprit === undefined ? 'its filesystem' : `the ${culprit.type} on ${culprit.point}`;
  const message = `${source} cannot be used in a pod with a user namespace: ${where} cannot show its files with the pod's owners (idmapped mount: ${error.details.errno}); use another filesystem, or set userns = "none" in silt's configuration`;
  return new SiltError('HOST_UNSUPPORTED', message, { ...error.details, path: source }, { cause: error });
}

/**
 * Tries it, before something is written to a directory that is idmapped in the end.
 * @throws SiltError HOST_UNSUPPORTED as {@link idmapFailure} has it
 */
export function refuseWithoutIdmap(kernel: Kernel, directory: string, userns: number): void {
  const p = new ProgramBuilder();
  p.step(`opening ${directory}`);
  const tree = cloneTree(p, AT_FDCWD, directory);
  p.step(idmapStep(directory));
  mountSetattr(p, tree, { userns });
  close(p, tree);
  try {
    kernel.run(p.build());
  } catch (error) {
    throw idmapFailure(kernel, error, userns);
  }
}

function canBeIdmapped(kernel: Kernel, path: string, userns: number): boolean {
  const p = new ProgramBuilder();
  const tree = cloneTree(p, AT_FDCWD, path, { tolerate: ['ENOENT', 'EINVAL', 'EACCES', 'EPERM'] });
  const result = p.slot('result');
  mountSetattr(p, tree, { userns }, '', { out: result, tolerate: 'all' });
  close(p, tree);
  return kernel.run(p.build()).get(result) === 0;
}
