/** Whose files are, as the host numbers it. */
import { SiltError } from '../errors';
import { type IdMaps, type IdRange, toHost } from './id-map';
import type { Owner } from './target';

/** The host's ids of a user of the container. */
export function hostOwner(idMaps: IdMaps | null, uid: number, gid: number, jsonPath: string): Owner {
  if (idMaps === null) return { uid, gid };
  const hostUid = toHost(idMaps.uids, uid);
  const hostGid = toHost(idMaps.gids, gid);
  if (hostUid === undefined) throw invalid(jsonPath, `uid ${uid} is not in the pod's user namespace`);
  if (hostGid === undefined) throw invalid(jsonPath, `gid ${gid} is not in the pod's user namespace`);
  return { uid: hostUid, gid: hostGid };
}

/**
 * Whether a layer has the pod's ids on disk and not those of the image. An engine that cannot count on idmapped mounts has changed the owners of all files
 * (containerd's remapped snapshots), and of an upper of its own in any case: then the root directory is the pod's root's.
 */
export function isPodRoots(rootDirectory: Owner | undefined, podRoot: Owner): boolean {
  return rootDirectory?.uid === podRoot.uid && rootDirectory.gid === podRoot.gid;
}

/** Whether a file's owner, as the host numbers it, is one of the pod's. */
export function isPods(owner: Owner | undefined, { uids, gids }: IdMaps): boolean {
  const has = (ranges: readonly IdRange[], id: number): boolean =>
    ranges.some(({ hostID, size }) => id >= hostID && id < hostID + size);
  return owner !== undefined && has(uids, owner.uid) && has(gids, owner.gid);
}

export function invalid(jsonPath: string, message: string): SiltError {
  return new SiltError('SPEC_INVALID', `${jsonPath}: ${message}`, { jsonPath });
}
