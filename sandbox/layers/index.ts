/**
 * Seeds without copying: an archive is unpacked once, into a layer that all containers which start from it have directly below
 * their uppers. No pod can write to it: as any layer it is read by the overlay only, and it lies where host root alone comes to.
 */
import { closeSync, statfsSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { IdMaps } from '../../gofer';
import { C } from '../../syscall';
import { cgroupEntry, createCgroup, oomKills, planCgroup, removeCgroup } from '../cgroup';
import { type Config, RANGE_SIZE } from '../config/config';
import { runUnpacker } from '../seed/unpacker';
import type { Workshop } from '../workshop';
import { LayerCache, type LayerNotes, type LayerUser, type UsedLayer } from './cache';
import { identify, isBeingWritten } from './identity';
import { mountLayer } from './mount';

export { release, type UsedLayer } from './cache';
export { lastingIdentity } from './identity';
export { mountLayer } from './mount';
export { takeOverRoot } from './root-directory';

export interface LayerRequest extends LayerUser {
  /** The archive. Borrowed. */
  readonly archive: number;
  /** The pod's ids, or null. */
  readonly idMaps: IdMaps | null;
}

type LayerWorkshop = Pick<Workshop, 'kernel' | 'host' | 'config' | 'onProgress'>;

/** An entry without contents takes an inode and its part of a directory. */
const BYTES_PER_ENTRY = 512;
const UNPACKER_MEMORY = 2 * 2 ** 30;

/** Errors that are about the archive: for them it is copied, which tells what is wrong with it, or works. */
const NOT_SHAREABLE: readonly string[] = ['ARCHIVE_INVALID', 'ARCHIVE_TRUNCATED'];

/**
 * The layer of an archive, made if need be, and marked as used. `undefined`: this archive, or any on this host, is to be copied
 * into the container's upper instead. That is so when sharing is off, when somebody is writing to the archive, when it holds what
 * 65536 ids without device nodes cannot, or when there is no room for it.
 */
export async function useLayer(workshop: LayerWorkshop, request: LayerRequest): Promise<UsedLayer | undefined> {
  const { kernel, config } = workshop;
  if (config.seed === 'copy' || !covers(request.idMaps)) return undefined;
  const cache = new LayerCache(kernel, config.seedLayers);
  try {
    cache.open();
    if (statfsSync(cache.directory).type === C.OVERLAYFS_SUPER_MAGIC) return undefined;
    const key = await identify(request.archive, config.seedIdentity);
    // Twice: a layer can be dropped between its making and its use.
    for (let tries = 0; tries < 2; tries++) {
      const used = cache.use(key, request);
      if (used) return used;
      if (cache.isToBeCopied(key) || isBeingWritten(kernel, request.archive)) return undefined;
      await makeLayer(workshop, cache, key, request.archive);
    }
    return cache.use(key, request);
  } catch {
    // Whatever is wrong with the cache, its filesystem or the archive: a copy needs none of them, or says what it is.
    return undefined;
  }
}

/** Are the ids of a layer ids of the pod? */
function covers(idMaps: IdMaps | null): boolean {
  const whole = (ranges: IdMaps['uids']): boolean =>
    ranges.some(({ containerID, size }) => containerID === 0 && size >= RANGE_SIZE);
  return idMaps === null || (whole(idMaps.uids) && whole(idMaps.gids));
}

async function makeLayer(workshop: LayerWorkshop, cache: LayerCache, key: string, archive: number): Promise<void> {
  const { kernel, config } = workshop;
  const maxBytes = config.seedLayersSize - cache.bytesInUse();
  try {
    await cache.make(key, async (root) => {
      const notes = await unpackTo(workshop, root, { archive, key, maxBytes });
      if ((await identify(archive, config.seedIdentity)) !== key || isBeingWritten(kernel, archive)) {
        throw new SiltError('SEED_UNREADABLE', 'the archive was changed while it was read');
      }
      return notes;
    });
  } catch (error) {
    if (error instanceof SiltError && NOT_SHAREABLE.includes(error.code)) cache.markToBeCopied(key);
    throw error;
  }
  void cache.trim(config.seedLayersSize).catch(() => undefined);
}

/** Runs the unpacker in a cgroup of its own and with ids of its own: what no pod has a part in no pod can get at. */
async function unpackTo(
  workshop: LayerWorkshop,
  root: string,
  { archive, key, maxBytes }: { archive: number; key: string; maxBytes: number },
): Promise<LayerNotes> {
  const { kernel, host, config } = workshop;
  const plan = planCgroup({
    id: key,
    cgroupsPath: `/silt-unpacker-${key}`,
    resources: { memory: { limit: UNPACKER_MEMORY } },
    hierarchies: host.hierarchies,
  });
  const directory = mountLayer(kernel, root);
  try {
    await removeCgroup(plan.cgroup);
    createCgroup(plan);
    const result = await runUnpacker(workshop, {
      archive,
      directory,
      idMaps: unpackerIds(config),
      idmapped: true,
      cgroup: cgroupEntry(plan.cgroup),
      devices: [],
      maxBytes,
      oomKills: () => oomKills(plan.cgroup),
    });
    return { bytes: result.bytes + result.entries * BYTES_PER_ENTRY, hasRoot: result.hasRoot };
  } finally {
    closeSync(directory);
    await removeCgroup(plan.cgroup);
  }
}

/** The range in front of those of the pods, or behind them where there is none. */
function unpackerIds({ usernsFirstId, usernsRanges }: Config): IdMaps {
  const before = usernsFirstId - RANGE_SIZE;
  const hostID = before >= RANGE_SIZE ? before : usernsFirstId + usernsRanges * RANGE_SIZE;
  const range = { containerID: 0, hostID, size: RANGE_SIZE };
  return { uids: [range], gids: [range] };
}
