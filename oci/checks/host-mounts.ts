/** What cannot be had in the mount namespace of the host, where a container has its root filesystem by chroot(2), or in that of somebody else. */
import { CAPABILITY_SETS } from '../capabilities';
import type { Process, Spec } from '../spec';
import { refuse } from './shape';

/** Kinds of hook that run while the root filesystem is built, in a mount namespace that they are not told of. */
const BUILDING_HOOKS = ['prestart', 'createRuntime', 'createContainer'] as const;

/** Whether a container has no mount namespace of its own, nor that of a path. */
export function isInHostMounts({ linux }: Pick<Spec, 'linux'>): boolean {
  return !(linux?.namespaces ?? []).some(({ type }) => type === 'mount');
}

/** @throws SiltError SPEC_UNSUPPORTED for what a spec without a mount namespace of the container's own cannot have. */
export function checkHostMounts(spec: Spec): void {
  if (isInHostMounts(spec)) {
    if (spec.process) checkMountPower(spec.process, '$.process');
    refuseBuildingHooks(
      spec,
      `without a mount namespace in $.linux.namespaces such hooks would not see the container's root, and mount on the host`,
    );
  } else if (spec.linux?.namespaces?.some(({ type, path }) => type === 'mount' && path)) {
    refuseBuildingHooks(
      spec,
      'in a mount namespace of a path such hooks would act on the files of whose it is, and be looked up there; leave the path out of $.linux.namespaces',
    );
  }
}

function refuseBuildingHooks(spec: Spec, message: string): void {
  for (const kind of BUILDING_HOOKS) {
    if ((spec.hooks?.[kind] ?? []).length === 0) continue;
    throw refuse(`$.hooks.${kind}`, message, 'SPEC_UNSUPPORTED');
  }
}

/**
 * CAP_SYS_ADMIN leads out of a chroot(2): who enters its own mount namespace by setns(2), or a copy of it, has the root of that as its root
 * (mntns_install in fs/namespace.c).
 * @param process of a container in the mount namespace of the host
 * @param path of the process in the document
 * @throws SiltError SPEC_UNSUPPORTED for it in any set of capabilities.
 */
export function checkMountPower({ capabilities }: Pick<Process, 'capabilities'>, path: string): void {
  for (const set of CAPABILITY_SETS) {
    if (!(capabilities?.[set] ?? []).includes('CAP_SYS_ADMIN')) continue;
    const message = `CAP_SYS_ADMIN leads out of the root of a container without a mount namespace, to the host's; give it a mount namespace, or leave the capability out`;
    throw refuse(`${path}.capabilities.${set}`, message, 'SPEC_UNSUPPORTED');
  }
}
