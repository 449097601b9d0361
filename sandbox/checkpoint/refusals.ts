/** Containers that a checkpoint could not hold, or that a restore would not give back as they were. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { isInHostMounts, type Spec } from '../../oci';
import { listPids } from '../cgroup';
import { commandOf } from '../process/process';
import type { ContainerState } from '../state/state';
import { strangers } from './outside';

/**
 * @param execs names of processes that were brought in, by pid
 * @throws SiltError CHECKPOINT_FAILED naming processes that were not started by the container's first one.
 */
export function refuseStrangers({ id, cgroup, init }: ContainerState, execs?: ReadonlyMap<number, string>): void {
  const found = strangers(listPids(cgroup), init.pid);
  if (found.length === 0) return;
  const names = found.map((pid) => {
    const exec = execs?.get(pid);
    return `${exec === undefined ? '' : `exec ${exec}, `}process ${pid} (${commandOf(pid)})`;
  });
  const message = `processes were brought into the container by exec, and a checkpoint holds only what its first process has started: ${names.join('; ')}; end them first`;
  throw new SiltError('CHECKPOINT_FAILED', message, { id });
}

/** @throws SiltError CHECKPOINT_FAILED when what the container writes goes where nothing can be put back by a restore. */
export function refuseEnginesOverlay({ id, upper }: ContainerState): void {
  if (!upper.onHost) return;
  const message = `container ${id} writes to its engine's own overlay (overlay2=none), which a restore could not fill again; choose another overlay2`;
  throw new SiltError('CHECKPOINT_FAILED', message, { id });
}

/**
 * @param images directory of CRIU's images
 * @throws SiltError CHECKPOINT_FAILED when the ipc namespace holds what a pod's containers share and CRIU would make anew.
 */
export function refuseIpc(images: string): void {
  const found = readdirSync(images).filter((name) => /^ipcns-(shm|msg|sem)-/.test(name));
  const held = found.filter((name) => statSync(join(images, name)).size > 8);
  if (held.length === 0) return;
  const kinds = held.map((name) => /^ipcns-(\w+)-/.exec(name)?.[1]).join(', ');
  const message = `its System V IPC objects (${kinds}) cannot be restored: they belong to the pod's ipc namespace; remove them (ipcrm)`;
  throw new SiltError('CHECKPOINT_FAILED', message);
}

/** @throws SiltError CHECKPOINT_FAILED naming the namespace. */
export function refuseNamespaces(spec: Spec): void {
  if (isInHostMounts(spec))
    throw new SiltError(
      'CHECKPOINT_FAILED',
      'it has no mount namespace of its own, and its root filesystem would not be restored',
    );
  const hinders = spec.linux?.namespaces?.find(
    ({ type, path }) => type === 'time' || ((type === 'mount' || type === 'cgroup') && path !== undefined),
  );
  if (hinders === undefined) return;
  const { type, path } = hinders;
  const message = `it has a ${type} namespace ${path === undefined ? 'of its own' : `of the path ${path}`}, which would not be restored`;
  throw new SiltError('CHECKPOINT_FAILED', message);
}
