import { closeSync, fstatSync, type Stats, statSync } from 'node:fs';
import { SiltError } from '../../errors';
import { type IdMaps, isPodRoots, type Owner, toHost } from '../../gofer';
import { refuseWithoutIdmap } from '../mounts/idmap-failure';
import type { ContainerPlan, ContainerRequest } from './plan';
import type { Pod } from '../pod/pod';
import type { Seeding } from './seeding';
import { type ContainerState, NO_UPPER } from '../state/state';
import { cloneMounted, createUpper, modeBits, namedFilestore } from './upper';
import type { Workshop } from '../workshop';

/** The container's upper, seeded when the request says so. Returns its fd, the caller's to close; undefined without an upper. */
export async function makeUpper(
  workshop: Workshop,
  pod: Pod,
  request: ContainerRequest,
  plan: ContainerPlan,
  seeding: Seeding | undefined,
): Promise<number | undefined> {
  const { kernel } = workshop;
  const top = seeding?.layer?.hasRoot ? seeding.layer.path : request.rootfs.layers[0]!;
  const stat = statSync(top);
  const { owner, upper: names } = plan.launch.root;
  const upper = createUpper(kernel, plan.upper, {
    id: request.id,
    owner,
    rootOwner: isPodRoots(stat, owner) ? owner : rootOwner(plan.idMaps, stat, owner),
    rootMode: modeBits(stat),
    userns: plan.idMaps ? pod.userns : undefined,
  });
  const seed = request.checkpoint?.upper ?? request.seed;
  if (seed === undefined) return upper;
  if (upper === undefined) {
    await fillMounted(workshop, pod, request, plan, seed, seeding);
    return undefined;
  }
  try {
    await seeding?.fill(upper, names!.fs, plan);
    return upper;
  } catch (error) {
    closeSync(upper);
    throw error;
  }
}

/** Without an upper of its own the container writes to what the engine has mounted, and so does what fills that: never below it. */
async function fillMounted(
  { kernel }: Workshop,
  pod: Pod,
  { rootfs: { own }, checkpoint }: ContainerRequest,
  plan: ContainerPlan,
  seed: string,
  seeding: Seeding | undefined,
): Promise<void> {
  // In a plain directory nothing would tell the archive's deletions from those of the image's owner, who may be the host.
  if (checkpoint || plan.upper.kind !== 'none' || plan.upper.changes === undefined) {
    const message = `the seed ${seed} needs an upper, and with overlay2=none the root filesystem ${own?.upper} has none; choose another overlay2`;
    throw new SiltError('SEED_REFUSED', message, { path: seed });
  }
  // What the seed wrote would stay there when the root filesystem is found wanting after it.
  if (plan.idMaps && pod.userns !== undefined) refuseWithoutIdmap(kernel, own!.upper, pod.userns);
  const root = cloneMounted(kernel, own!.upper);
  try {
    await seeding?.fill(root, '.', plan);
  } finally {
    closeSync(root);
  }
}

/** Who owns the root directory; an owner whom the pod does not have is its root, as no other can be given to it. */
function rootOwner(idMaps: IdMaps | null, { uid, gid }: Stats, podRoot: Owner): Owner {
  if (idMaps === null) return { uid, gid };
  return { uid: toHost(idMaps.uids, uid) ?? podRoot.uid, gid: toHost(idMaps.gids, gid) ?? podRoot.gid };
}

export function filestoreRecord({ upper }: ContainerPlan): Pick<ContainerState, 'filestore'> {
  const filestore = namedFilestore(upper);
  return filestore === undefined ? {} : { filestore };
}

export function recordUpper(id: string, plan: ContainerPlan, upper: number | undefined): ContainerState['upper'] {
  const names = plan.launch.root.upper;
  if (plan.upper.kind === 'none' && plan.upper.changes !== undefined)
    return { path: plan.upper.changes, device: statSync(plan.upper.changes).dev, onHost: true };
  return upper === undefined || names === null
    ? NO_UPPER
    : { path: `/${id}/${names.fs}`, device: fstatSync(upper).dev };
}
