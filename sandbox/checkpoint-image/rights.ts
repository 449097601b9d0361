/** What saved processes may do: CRIU gives them back what they had, whatever the spec of the new container says. */
import { isDeepStrictEqual } from 'node:util';
import { BASELINES, CAPABILITY_SETS, isPrivileged, type Process, type Seccomp, type Spec } from '../../oci';
import type { Config } from '../config/config';

export interface Rights {
  readonly spec: Spec;
  /** The filter that silt adds to that of the spec. A checkpoint that does not name it was taken by a silt that did not record it. */
  readonly baseline?: Config['baseline'] | undefined;
}

type Capabilities = NonNullable<Process['capabilities']>;
type Confinement = 'apparmorProfile' | 'selinuxLabel';

/** From the weakest on. */
const STRENGTHS: readonly Config['baseline'][] = ['none', ...BASELINES];
/** What was in force, unless configured otherwise, before manifests named it. */
const UNNAMED_BASELINE = 'docker';
/** How AppArmor calls having no profile. */
const UNCONFINED = 'unconfined';

/**
 * What the processes of a checkpoint have that a new container is not to have: whoever may name a checkpoint must not get by it what he
 * would be refused otherwise. Each is named by its field, with what was saved and what is given. Empty when there is nothing.
 */
export function rightsBeyond(saved: Rights, given: Rights): string[] {
  const [had, gets] = [saved.spec.process, given.spec.process];
  const beyond = [...capabilitiesBeyond(had?.capabilities, gets?.capabilities), ...userBeyond(had?.user, gets?.user)];
  if (gets?.noNewPrivileges === true && had?.noNewPrivileges !== true)
    beyond.push('noNewPrivileges (saved without, given true)');
  beyond.push(...labelBeyond('apparmorProfile', had, gets), ...labelBeyond('selinuxLabel', had, gets));
  beyond.push(...seccompBeyond(saved.spec.linux?.seccomp, given.spec.linux?.seccomp));
  beyond.push(...baselineBeyond(saved, given));
  return beyond;
}

function capabilitiesBeyond(saved: Capabilities = {}, given: Capabilities = {}): string[] {
  return CAPABILITY_SETS.flatMap((set) => {
    const allowed = new Set(given[set] ?? []);
    const beyond = [...new Set(saved[set] ?? [])].filter((name) => !allowed.has(name)).sort();
    return beyond.length === 0 ? [] : [`capabilities.${set} (${beyond.join(' ')} saved and not given)`];
  });
}

function userBeyond(saved: Process['user'], given: Process['user']): string[] {
  const beyond = (['uid', 'gid'] as const).flatMap((field) => {
    const [had, gets] = [saved?.[field] ?? 0, given?.[field] ?? 0];
    return had === gets ? [] : [`user.${field} (saved ${had}, given ${gets})`];
  });
  const groups = new Set([given?.gid ?? 0, ...(given?.additionalGids ?? [])]);
  const further = (saved?.additionalGids ?? []).filter((gid) => !groups.has(gid));
  if (further.length > 0) beyond.push(`user.additionalGids (${further.join(' ')} saved and not given)`);
  return beyond;
}

function labelBeyond(field: Confinement, saved: Process | undefined, given: Process | undefined): string[] {
  const [had, gets] = [saved?.[field] || UNCONFINED, given?.[field] || UNCONFINED];
  return gets === UNCONFINED || had === gets ? [] : [`${field} (saved ${had}, given ${gets})`];
}

/** Which of two filters lets more through cannot be told in general: only the same one is as strict for sure. */
function seccompBeyond(saved: Seccomp | undefined, given: Seccomp | undefined): string[] {
  if (given === undefined) return [];
  if (saved === undefined) return ['linux.seccomp (saved without a profile, given one)'];
  return isDeepStrictEqual(asWritten(saved), asWritten(given))
    ? []
    : ['linux.seccomp (saved another profile than given)'];
}

/** As a manifest has it: without what is undefined, and with every number as a double. */
function asWritten(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? Number(one) : one)));
}

/**
 * A privileged container has no baseline. That a saved one was privileged, and the new one is not, its capabilities say already.
 */
function baselineBeyond(
  { baseline: had = UNNAMED_BASELINE }: Rights,
  { spec, baseline: gets = 'none' }: Rights,
): string[] {
  if (isPrivileged(spec) || STRENGTHS.indexOf(gets) <= STRENGTHS.indexOf(had)) return [];
  return [`the baseline filter (saved ${had}, configured ${gets})`];
}
