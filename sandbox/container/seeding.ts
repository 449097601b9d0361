import { closeSync } from 'node:fs';
import { withContext } from '../../errors';
import type { Spec } from '../../oci';
import { oomKills } from '../cgroup';
import { containerIdMaps } from '../pod/container-ids';
import { type ContainerPlan, type ContainerRequest, planContainerUpper } from './plan';
import { lastingIdentity, release, takeOverRoot, type UsedLayer, useLayer } from '../layers';
import type { Pod } from '../pod/pod';
import { openSeed, seedUpper } from '../seed/seed';
import { recordProcess } from '../state/state';
import type { AllowedDevice } from '../seed/unpacker-requests';
import type { Workshop } from '../workshop';

/** The archive that a container starts from, and how: from a layer that it shares with others, or from a copy in its upper. */
export class Seeding {
  #layer: UsedLayer | undefined;

  private constructor(
    private readonly workshop: Workshop,
    private readonly pod: Pod,
    private readonly request: ContainerRequest,
    private archive: number,
  ) {}

  get layer(): UsedLayer | undefined {
    return this.#layer;
  }

  /** Opens the archive, and takes or makes its layer where it can be shared. To be closed. @throws SiltError SEED_UNREADABLE. */
  static async open(workshop: Workshop, pod: Pod, request: ContainerRequest): Promise<Seeding | undefined> {
    const { id, checkpoint } = request;
    const seed = checkpoint?.upper ?? request.seed;
    if (seed === undefined) return undefined;
    const upper = planContainerUpper(workshop, request);
    try {
      const seeding = new Seeding(workshop, pod, request, openSeed(seed));
      const user = { sandbox: recordProcess(pod.sandbox.pid), container: id };
      // What the engine has an upper for must be in it; a checkpoint's has been read to be checked, and is used once.
      if (checkpoint || upper.kind === 'engine' || upper.kind === 'none') return seeding;
      seeding.#layer = await useLayer(workshop, {
        archive: seeding.archive,
        idMaps: containerIdMaps(pod, request.spec),
        ...user,
      });
      return seeding;
    } catch (error) {
      throw withContext(`seeding from ${seed}`, error);
    }
  }

  /** Closes the archive; the layer stays in use, until the container's state is removed. */
  close(): void {
    if (this.archive >= 0) closeSync(this.archive);
    this.archive = -1;
  }

  /** The container does not come to be: it uses the layer no more. */
  giveUp(): void {
    this.close();
    if (this.layer) release(this.layer.use);
  }

  /**
   * Fills the container's upper, a directory of the mount that createUpper made, as far as that is needed; without one (`none`), the root
   * filesystem itself, which is an overlay that the engine has mounted. @throws SiltError of the archive, or NO_SPACE.
   */
  async fill(upper: number, directory: string, plan: ContainerPlan): Promise<void> {
    const { workshop, pod, request, archive } = this;
    const layer = this.#layer;
    try {
      if (layer) {
        if (layer.hasRoot)
          takeOverRoot(workshop.kernel, layer.path, { upper, directory }, plan.idMaps ? pod.userns : undefined);
        return;
      }
      const { kind } = plan.upper;
      const isSaved = request.checkpoint !== undefined;
      await seedUpper(workshop, {
        archive,
        upper,
        directory,
        merged: kind === 'none',
        once: !isSaved && (kind === 'none' || kind === 'engine') ? await this.#noted() : undefined,
        idMaps: plan.idMaps,
        cgroup: plan.launch.cgroup,
        devices: allowedDevices(request.spec),
        oomKills: () => oomKills(plan.cgroup.cgroup),
        isSaved,
      });
    } catch (error) {
      throw withContext(`seeding from ${request.checkpoint?.upper ?? request.seed}`, error);
    }
  }

  /** What an upper that outlives the container notes of its seed. */
  async #noted(): Promise<{ path: string; identity: string }> {
    const { request, archive, workshop } = this;
    return { path: request.seed!, identity: await lastingIdentity(archive, workshop.config.seedIdentity) };
  }
}

/** The device nodes that the spec gives the container may also stand in its seed. */
export function allowedDevices(spec: Spec): AllowedDevice[] {
  return (spec.linux?.devices ?? []).flatMap(({ type, major = 0, minor = 0 }) =>
    type === 'p' ? [] : [{ type: type === 'b' ? ('block' as const) : ('char' as const), major, minor }],
  );
}
