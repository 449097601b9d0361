/**
 * Keeps a container's processes from running while somebody else than silt's tracer of CPUID traces them, or nobody yet: CPUID
 * faults in them, and none may execute it before the tracer is there to answer.
 */
import { closeSync, readdirSync } from 'node:fs';
import type { Spec } from '../../oci';
import { type Cgroup, escapeFreezer, isFrozen, killAll, listPids, thaw } from '../cgroup';
import { CPU_FEATURES_ANNOTATION, type CpuView, traceContainer, TracerControl } from '../cpuid';
import { FreezeRecord } from '../state/freeze';
import type { Lifetime } from '../process/process';
import type { ContainerState } from '../state/state';
import type { Workshop } from '../workshop';

/** Whether the programs of such a container are traced, see docs/cpu-features.md. */
export function isTraced({ annotations = {} }: Pick<Spec, 'annotations'>): boolean {
  return annotations[CPU_FEATURES_ANNOTATION] !== undefined;
}

/**
 * Freezes a container for CRIU, and has its tracer, if it has one, let go of its threads. The returned function undoes both; it
 * may be called when the processes have been killed.
 * @param control see {@link FreezeRecord.lease}; kept
 * @throws SiltError CHECKPOINT_FAILED when a thread does not stand still; the container runs on then, or is paused as it was.
 */
export async function keepStill(
  { kernel, state }: Workshop,
  { container, spec }: { readonly container: ContainerState; readonly spec: Spec },
  control = kernel.pipe(),
): Promise<() => Promise<void>> {
  const { cgroup } = container;
  const directory = state.containerPath(container.pod, container.id);
  const freezer = new FreezeRecord(kernel, cgroup, directory);
  if (!isTraced(spec)) return freezer.lease(control);
  let thawLater: (() => Promise<void>) | undefined;
  let isLeased = false;
  let connected: TracerControl | undefined;
  try {
    const tracer = (connected = TracerControl.connect(kernel, directory));
    // Frozen threads cannot stand still for a tracer. They have been told to, and will before they run on.
    await tracer.hold(() => {
      if (isFrozen(cgroup)) thaw(cgroup);
    });
    isLeased = true;
    // Thawed for the tracer, not by another checkpoint's CRIU: a snapshot's lease is no reason to let it run on, without a tracer.
    thawLater = await freezer.lease(control, { always: true });
    await tracer.letGo();
  } catch (error) {
    if (!isLeased) for (const fd of control) closeSync(fd);
    if (freezer.paused) await freezer.pause();
    connected?.close();
    await thawLater?.();
    throw error;
  }
  const [tracer, release] = [connected, thawLater];
  return async () => {
    try {
      await tracer.resume();
    } catch (error) {
      // Nobody answers for CPUID any more: as when the tracer is killed, the container ends.
      await killAll(cgroup);
      throw error;
    } finally {
      tracer.close();
      await release();
    }
  };
}

/** Restored processes that do not run yet, as they are not traced yet. */
export interface FrozenRestore {
  /**
   * Starts their tracer, when CRIU has let go of them: they will run when CPUID has been made to fault in each.
   * @throws SiltError SYSCALL_FAILED; they are the caller's to kill then.
   */
  trace(view: CpuView, lifetime: Lifetime): Promise<void>;
  thaw(): Promise<void>;
}

/**
 * Freezes the processes that CRIU has restored and still holds.
 * @param directory of the container's state
 * @param helpers processes in its cgroup that have to run on: CRIU, and what it needs
 */
export async function freezeRestored(
  { kernel, host }: Workshop,
  restored: { readonly cgroup: Cgroup; readonly directory: string; readonly helpers: readonly number[] },
): Promise<FrozenRestore> {
  const { cgroup, directory, helpers } = restored;
  for (const pid of helpers) escapeFreezer(cgroup, host.hierarchies, pid);
  const thaw = await new FreezeRecord(kernel, cgroup, directory).lease();
  return {
    thaw,
    trace: async (view, lifetime) => {
      const tids = listPids(cgroup).flatMap((pid) => readdirSync(`/proc/${pid}/task`).map(Number));
      await traceContainer(kernel, host, directory, { view, tids, armNow: true, lifetime });
    },
  };
}
