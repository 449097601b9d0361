import { closeSync, fstatSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { SiltError, withContext } from '../../errors';
import { hostOwner, unmappedVolumes } from '../../gofer';
import { type Spec, specWarnings } from '../../oci';
import { applicationCheckpoint, applicationMounts, CheckpointFile } from '../application';
import { memoryInUse } from '../cgroup';
import { makeContainerCgroup, removeContainerCgroup } from './cgroup';
import { containerIdMaps, idsWarning } from '../pod/container-ids';
import { type ContainerPlan, type ContainerRequest, cpuinfoFile, planContainer } from './plan';
import { Hooks } from './hooks';
import { openMountFds } from '../mounts/fds';
import { isOfEndedProcess, refuseForeignNamespaces } from '../pod/namespace-paths';
import type { Pod } from '../pod/pod';
import { watchProgress } from '../progress';
import { Seeding } from './seeding';
import { moveNetDevices } from '../network';
import { NO_PROCESS, NO_UPPER, recordProcess } from '../state/state';
import { warningsOf, type Workshop } from '../workshop';
import { Container } from './container';
import { launchFirst, restoreFirst } from './launch';
import { ParkedLauncher } from './parked';
import { UndoStack } from './undo';
import { filestoreRecord, makeUpper, recordUpper } from './make-upper';

/**
 * Creates a container in a running pod, up to its first process, which is parked before exec.
 * @throws SiltError; nothing of the container is left then.
 */
export async function createContainer(workshop: Workshop, pod: Pod, request: ContainerRequest): Promise<Container> {
  if (pod.isEnding()) throw podEnding(pod.id, request.id);
  const { state } = workshop;
  const undo = new UndoStack();
  const hooks = new Hooks(workshop.kernel, request, request.aroundHooks);
  let launched = false;
  // A creation that fails once there is something for hooks to see ends as a deletion does (runtime.md, "Lifecycle").
  undo.add(() => (launched ? hooks.deleted(warningsOf(workshop)) : undefined));
  try {
    refuseForeignNamespaces(workshop.kernel, state, pod, request.id, request.spec);
    const mountPoint = state.addContainer(pod.id, request.id);
    undo.add(() => state.removeContainer(pod.id, request.id));
    const seeding = await Seeding.open(workshop, pod, request);
    undo.add(() => seeding?.giveUp());
    const layer = seeding?.layer;
    const made = await makeCheckpointFile(workshop, pod, request);
    undo.add(() => made?.file.close());
    const ownMounts =
      made || request.checkpoint ? applicationMounts(request.spec, dirname(mountPoint), made?.path) : [];
    const plan = planContainer(workshop, pod, { ...request, ownMounts }, mountPoint, layer?.path);
    specWarnings(request.spec, workshop.host.lastCapability).forEach(warningsOf(workshop));
    const told = idsWarning(pod, request.spec);
    for (const warning of [...(told === undefined ? [] : [told]), ...unmappedVolumes(plan.launch.root)])
      warningsOf(workshop)(`container ${request.id}: ${warning}`);
    const record = {
      id: request.id,
      pod: pod.id,
      bundle: request.bundle,
      created: new Date().toISOString(),
      annotations: request.spec.annotations ?? {},
      cgroup: plan.cgroup.cgroup,
      baseline: workshop.config.baseline,
      ...(pod.idMaps && !plan.idMaps ? { hostIds: true } : {}),
      ...filestoreRecord(plan),
      ...(layer && { seedLayer: { path: layer.path, use: layer.use, image: request.rootfs.layers } }),
      stdio: Object.values(request.stdio).map((fd) => fstatSync(fd).ino),
      ...(made && { checkpointFile: true }),
    };
    // Before the first thing that outlives this process: whoever cleans up after it has to know of cgroup and filestore.
    state.writeContainer({ ...record, init: NO_PROCESS, upper: NO_UPPER });
    state.writeSpec(pod.id, request.id, request.spec);
    if (plan.cpu) writeFileSync(cpuinfoFile(dirname(mountPoint)), plan.cpu.cpuinfo, { mode: 0o444 });
    const delegateTo = ownsCgroup(request.spec, plan) ? plan.launch.root.owner : undefined;
    const cgroup = await makeContainerCgroup(workshop.kernel, request.id, plan.cgroup, delegateTo);
    undo.add(() => removeContainerCgroup(plan.cgroup.cgroup));
    undo.add(() => cgroup.release());
    // Not for a restore, whose processes are as many as they were.
    if (seeding && !seeding.layer && !request.checkpoint) await cgroup.boundUnpacker();
    const upper = await makeUpper(workshop, pod, request, plan, seeding);
    const stopWatching = watchRestore(workshop, request, plan);
    let mountFds: Record<string, number> = {};
    try {
      mountFds = await openMountFds(workshop.kernel, plan.launch.root, plan.idMaps, pod);
      seeding?.close();
      undo.add(moveNetDevices(workshop.kernel, pod.sandbox.fd, request.spec, warningsOf(workshop)));
      launched = true;
      const make = request.checkpoint ? restoreFirst : launchFirst;
      const { init, parked, failures } = await make({
        workshop,
        pod,
        request,
        plan,
        hooks,
        upper,
        mountFds,
        undo,
        checkpointFile: made?.path,
      });
      await cgroup.close();
      state.writeContainer({
        ...record,
        init: recordProcess(init.pid),
        upper: recordUpper(request.id, plan, upper),
        ...(failures ? { startFailures: failures } : {}),
        ...(parked.pager ? { pager: recordProcess(parked.pager.keeper.pid) } : {}),
      });
      await cgroup.release();
      // The process is on record: from here on others find it.
      if (request.lifetime === 'of-its-own' && parked instanceof ParkedLauncher) {
        parked.release();
        await parked.abandon();
      }
      return new Container(workshop, pod, request, plan, hooks, init, parked, made?.file);
    } finally {
      stopWatching();
      if (upper !== undefined) closeSync(upper);
      for (const fd of Object.values(mountFds)) closeSync(fd);
    }
  } catch (error) {
    await undo.run();
    if (pod.isEnding() || (pod.id !== request.id && isOfEndedProcess(error)))
      throw podEnding(pod.id, request.id, error);
    throw withContext(`cannot create container ${request.id}`, error);
  }
}

/** What a container hears that comes while its pod goes, at whichever step it noticed. */
export function podEnding(pod: string, id: string, cause?: unknown): SiltError {
  const message = `cannot create container ${id}: its pod ${pod} is ending`;
  return new SiltError('WRONG_STATE', message, { id }, cause === undefined ? undefined : { cause });
}

/** For a container whose programs may ask for checkpoints, or that is restored with such a file open. */
async function makeCheckpointFile(
  { kernel }: Workshop,
  pod: Pod,
  { spec, checkpoint, lifetime = 'with-caller' }: ContainerRequest,
): Promise<{ file: CheckpointFile; path: string } | undefined> {
  const wanted = applicationCheckpoint(spec);
  if (!wanted && checkpoint?.manifest.checkpointFile === undefined) return undefined;
  const owner = hostOwner(containerIdMaps(pod, spec), 0, 0, '$.linux.uidMappings');
  return CheckpointFile.make(kernel, { owner, writable: wanted?.enable ?? false, lifetime });
}

/** How far a restore is, by the memory that is in use again. */
function watchRestore({ onProgress }: Workshop, { checkpoint }: ContainerRequest, plan: ContainerPlan): () => void {
  if (!checkpoint) return () => undefined;
  const total = checkpoint.manifest.files.reduce((sum, { size }) => sum + size, 0);
  return watchProgress(onProgress, () => ({ done: Number(memoryInUse(plan.cgroup.cgroup)), total }));
}

/** Whether a container whose root is not the host's may make cgroups: its spec mounts them to be written to. */
function ownsCgroup({ mounts = [] }: Spec, { idMaps }: ContainerPlan): boolean {
  const cgroups = mounts.filter(({ type }) => type === 'cgroup' || type === 'cgroup2');
  return idMaps !== null && cgroups.length > 0 && cgroups.every(({ options = [] }) => !options.includes('ro'));
}
