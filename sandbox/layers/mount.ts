import { AT_FDCWD, cloneTree, close, type Kernel, mountSetattr, openat, ProgramBuilder } from '../../syscall';

/**
 * A detached mount of a layer's root directory, whose fd is the caller's to close; with the pid of a pod's sandbox its files have
 * the ids that they have for the pod.
 */
export function mountLayer(kernel: Kernel, path: string, sandbox?: number): number {
  const p = new ProgramBuilder();
  p.step(`opening the layer ${path}`);
  const tree = cloneTree(p, AT_FDCWD, path);
  if (sandbox !== undefined) {
    const userns = openat(p, AT_FDCWD, `/proc/${sandbox}/ns/user`, 'O_RDONLY');
    mountSetattr(p, tree, { userns });
    close(p, userns);
  }
  return kernel.run(p.build()).get(tree);
}
