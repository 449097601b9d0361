import { AT_FDCWD, cloneTree, type Kernel, mountSetattr, ProgramBuilder } from '../../syscall';

/**
 * A detached mount of a layer's root directory, whose fd is the caller's to close; with a pod's user namespace its files have the
 * ids that they have for the pod.
 */
export function mountLayer(kernel: Kernel, path: string, userns?: number): number {
  const p = new ProgramBuilder();
  p.step(`opening the layer ${path}`);
  const tree = cloneTree(p, AT_FDCWD, path);
  if (userns !== undefined) mountSetattr(p, tree, { userns });
  return kernel.run(p.build()).get(tree);
}
