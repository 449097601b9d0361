import { withContext } from '../errors';
import { checkHostMounts } from './checks/host-mounts';
import { isMapped } from './checks/ids';
import { parseJson } from './checks/json';
import { linux } from './checks/linux';
import { hooks, mounts, root } from './checks/mounts';
import { process } from './checks/process';
import { resources } from './checks/resources';
import { type Check, map, object, refuse, string } from './checks/shape';
import { checkSysctls, type IsHostNetwork } from './checks/sysctl';
import { unknownCapabilities, unraisableCapabilities } from './capabilities';
import type { Process, Spec, User } from './spec';
import type { Resources } from './spec-linux';
import { refuseUnsupported } from './unsupported';

const shape: Check<Spec> = object<Spec>(
  {
    ociVersion: string,
    process,
    root,
    hostname: string,
    domainname: string,
    mounts,
    hooks,
    annotations: map(string),
    linux,
  },
  ['ociVersion', 'process', 'root'],
);

export interface SpecHost {
  /** True when a path is of the network namespace that silt itself is in. */
  readonly isHostNetwork?: IsHostNetwork;
}

/**
 * Reads the text of a config.json and checks all of it that can be checked without the host. What comes back holds only
 * fields of the spec (see Spec); fields that OCI does not know are dropped, as it asks for.
 * @param where a name for the text, such as its path, to stand before the message
 * @throws SiltError SPEC_INVALID for the first thing that is wrong, SPEC_UNSUPPORTED for the first that silt cannot do;
 * details.jsonPath says where.
 */
export function parseSpec(text: string, where: string, host: SpecHost = {}): Spec {
  return inContext(where, () => {
    const document = parseJson(text);
    checkVersion(document);
    refuseUnsupported(document, '$');
    const spec = shape(document, '$');
    checkNamespaces(spec);
    checkUsers(spec);
    checkHostMounts(spec);
    if (spec.linux) checkSysctls(spec.linux, '$.linux', host.isHostNetwork ?? (() => false));
    return spec;
  });
}

/** The same for a single `process` object, which an exec brings; paths start at `$`. */
export function parseProcess(text: string, where: string): Process {
  return inContext(where, () => {
    const document = parseJson(text);
    refuseUnsupported(document, '$', 'process');
    return process(document, '$');
  });
}

/** The same for a single `linux.resources` object, which an update brings. */
export function parseResources(text: string, where: string): Resources {
  return inContext(where, () => resources(parseJson(text), '$'));
}

function inContext<T>(where: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw withContext(where, error);
  }
}

/**
 * What deserves a warning in the log but no refusal.
 * @param lastCapability the highest one that the kernel knows
 */
export function specWarnings(spec: Spec, lastCapability: number): string[] {
  const warnings = unknownCapabilities(spec.process?.capabilities ?? {}, lastCapability).map(
    (name) => `ignoring unknown or unavailable capability ${name}`,
  );
  for (const name of unraisableCapabilities(spec.process?.capabilities ?? {})) {
    warnings.push(`can't raise ambient capability ${name}: it is not both permitted and inheritable`);
  }
  spec.mounts?.forEach(({ destination }, i) => {
    if (destination.startsWith('/')) return;
    warnings.push(
      `$.mounts[${i}].destination: ${JSON.stringify(destination)} is relative, which OCI deprecates; it is taken from /`,
    );
  });
  return warnings;
}

/** Minor versions of the spec only add to it, so any 1.x is read; what it adds is dropped or refused by name. */
function checkVersion(document: unknown): void {
  const version = (document as { ociVersion?: unknown } | null)?.ociVersion;
  if (typeof version !== 'string') return;
  const match = /^(\d+)\.\d+\.\d+(?:[-+].+)?$/.exec(version);
  if (!match) throw refuse('$.ociVersion', `must be a version such as 1.3.0, found ${JSON.stringify(version)}`);
  if (match[1] !== '1') throw refuse('$.ociVersion', `${version} is not supported: silt knows 1.x`, 'SPEC_UNSUPPORTED');
}

/** Settings that need a namespace of their own, and namespaces that need settings. */
function checkNamespaces(spec: Spec): void {
  const namespaces = spec.linux?.namespaces ?? [];
  const find = (type: string) => namespaces.find((one) => one.type === type);
  for (const key of ['hostname', 'domainname'] as const) {
    if (spec[key] && !find('uts'))
      throw refuse(`$.${key}`, 'needs a uts namespace, and $.linux.namespaces has none: it would rename the host');
  }
  if (spec.linux?.rootfsPropagation && !find('mount')) {
    throw refuse(
      '$.linux.rootfsPropagation',
      'needs a mount namespace, and $.linux.namespaces has none: nothing can be mounted on the container’s root',
    );
  }
  if (Object.keys(spec.linux?.netDevices ?? {}).length > 0 && !find('network'))
    throw refuse('$.linux.netDevices', 'needs a network namespace, and $.linux.namespaces has none to move them to');
  checkTimeOffsets(spec, find('time'));
  checkUserNamespace(spec, find('user'));
}

function checkTimeOffsets({ linux }: Spec, time: { path?: string } | undefined): void {
  if (Object.keys(linux?.timeOffsets ?? {}).length === 0) return;
  if (!time) throw refuse('$.linux.timeOffsets', 'needs a time namespace, and $.linux.namespaces has none');
  if (time.path !== undefined)
    throw refuse(
      '$.linux.timeOffsets',
      `the offsets of ${time.path}, which is to be joined, are what they are; leave them out`,
    );
}

function checkUserNamespace(spec: Spec, user: { path?: string } | undefined): void {
  for (const key of ['uidMappings', 'gidMappings'] as const) {
    const mappings = spec.linux?.[key] ?? [];
    if (!user && mappings.length > 0)
      throw refuse(`$.linux.${key}`, 'needs a user namespace, and $.linux.namespaces has none');
    if (user && user.path === undefined && mappings.length === 0) {
      throw refuse(`$.linux.${key}`, 'must have at least one range for the new user namespace');
    }
  }
  spec.mounts?.forEach(({ options = [], uidMappings = [] }, i) => {
    const asks = options.includes('idmap') || options.includes('ridmap');
    if (asks && !user && uidMappings.length === 0)
      throw refuse(
        `$.mounts[${i}].options`,
        'idmap needs uidMappings and gidMappings beside it, or a user namespace, and $.linux.namespaces has none',
      );
  });
}

/** A process cannot have an id that its user namespace does not have. */
function checkUsers(spec: Spec): void {
  const user: User | undefined = spec.process?.user;
  const { uidMappings = [], gidMappings = [] } = spec.linux ?? {};
  if (!user || uidMappings.length === 0 || gidMappings.length === 0) return;
  if (!isMapped(uidMappings, user.uid))
    throw refuse('$.process.user.uid', `${user.uid} is in no range of $.linux.uidMappings`);
  if (!isMapped(gidMappings, user.gid))
    throw refuse('$.process.user.gid', `${user.gid} is in no range of $.linux.gidMappings`);
  user.additionalGids?.forEach((gid, i) => {
    if (!isMapped(gidMappings, gid))
      throw refuse(`$.process.user.additionalGids[${i}]`, `${gid} is in no range of $.linux.gidMappings`);
  });
}
