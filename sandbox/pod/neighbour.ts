import { closeSync, fstatSync, statSync } from 'node:fs';
import type { Spec } from '../../oci';
import type { Kernel } from '../../syscall';
import type { IdRanges } from './id-ranges';
import { listedNamespace, openListed } from './namespace-paths';
import type { Neighbour } from './plan';
import { openOwner, readIdMaps } from './user-namespace';

/** A neighbour whose range of ids will not be another's while it is shared. */
export interface OpenNeighbour extends Neighbour {
  /** Its user namespace; the caller's to close. */
  readonly userns: number;
  /** What to release, see {@link IdRanges.share}. */
  readonly shared: string;
}

/** The namespaces that a container wants to have rights over, if it joins them; the first of them decides. */
const KINDS = ['pid', 'network', 'ipc', 'uts'] as const;

/**
 * Finds the pod whose namespaces a spec joins by path, as `docker run --pid=container:…` does, and shares its range of ids. Undefined when
 * the spec joins none or says itself which user namespace it wants, or when what it joins belongs to none with a range of silt's.
 * @param owner where the state of the pod will be that shares the range
 * @throws SiltError SPEC_INVALID when a path leads to no such namespace.
 */
export async function openNeighbour(
  kernel: Kernel,
  spec: Spec,
  ranges: IdRanges,
  owner: string,
): Promise<OpenNeighbour | undefined> {
  if (listedNamespace(spec, 'user')) return undefined;
  const unused = new Set<number>();
  try {
    const joined = KINDS.flatMap((kind) => {
      const one = ownerOf(kernel, spec, kind);
      if (one) unused.add(one.userns);
      return one ?? [];
    });
    const [first] = joined;
    const idMaps = first ? await readIdMaps(kernel, first.userns) : null;
    const shared = idMaps === null ? undefined : ranges.share(idMaps, owner);
    if (first === undefined || idMaps === null || shared === undefined) return undefined;
    // Its pod had not ended when the range was shared already, so that it cannot have become another's in between.
    if (statSync(first.path, { throwIfNoEntry: false })?.ino !== first.namespace) {
      ranges.release(shared, owner);
      return undefined;
    }
    unused.delete(first.userns);
    const { ino } = fstatSync(first.userns);
    const network = joined.some(({ kind, userns }) => kind === 'network' && fstatSync(userns).ino === ino);
    return { idMaps, network, userns: first.userns, shared };
  } finally {
    for (const userns of unused) closeSync(userns);
  }
}

interface Joined {
  readonly kind: (typeof KINDS)[number];
  readonly path: string;
  /** The inode by which the namespace is known. */
  readonly namespace: number;
  /** That it belongs to. */
  readonly userns: number;
}

function ownerOf(kernel: Kernel, spec: Spec, kind: Joined['kind']): Joined | undefined {
  const fd = openListed(kernel, spec, kind);
  if (fd === undefined) return undefined;
  try {
    const path = listedNamespace(spec, kind)!.listed.path!;
    const userns = openOwner(kernel, `/proc/self/fd/${fd}`);
    return userns === undefined ? undefined : { kind, path, namespace: fstatSync(fd).ino, userns };
  } finally {
    closeSync(fd);
  }
}
