import { Access, accessBits, type DevicePolicy, type PolicyRule } from './device-rules';
import { specUnsupported, type Write } from './values';

/**
 * What a v1 devices cgroup can hold: a default, and exceptions from it. An exception is looked up by exact type and
 * numbers when it is changed, so nothing can be taken out of a wildcard (security/device_cgroup.c).
 */
export interface DeviceTable {
  readonly otherwise: 'allow' | 'deny';
  /** `c 1:3` to access bits, in the order in which they came. */
  readonly exceptions: ReadonlyMap<string, number>;
}

const number = (value: number | 'any'): string => (value === 'any' ? '*' : String(value));

function keyOf(rule: Numbers): string {
  return `${rule.type} ${number(rule.major)}:${number(rule.minor)}`;
}

function accessText(bits: number): string {
  return `${bits & Access.read ? 'r' : ''}${bits & Access.write ? 'w' : ''}${bits & Access.mknod ? 'm' : ''}`;
}

type Numbers = Pick<PolicyRule, 'type' | 'major' | 'minor'>;

interface Exception extends Numbers {
  readonly access: number;
}

function covers(wide: Numbers, narrow: Numbers): boolean {
  const within = (a: number | 'any', b: number | 'any'): boolean => a === 'any' || a === b;
  return wide.type === narrow.type && within(wide.major, narrow.major) && within(wide.minor, narrow.minor);
}

function overlaps(a: Numbers, b: Numbers): boolean {
  const meet = (x: number | 'any', y: number | 'any'): boolean => x === 'any' || y === 'any' || x === y;
  return a.type === b.type && meet(a.major, b.major) && meet(a.minor, b.minor);
}

/** Takes a rule that agrees with the default out of the exceptions that it covers. */
function revoke(exceptions: Map<string, Exception>, rule: PolicyRule): void {
  for (const [key, exception] of exceptions) {
    if (!overlaps(exception, rule) || (exception.access & rule.access) === 0) continue;
    if (!covers(rule, exception)) {
      const verb = rule.allow ? 'allow' : 'deny';
      throw specUnsupported(
        rule.jsonPath ?? '$.linux.resources.devices',
        `cgroup v1 cannot ${verb} ${keyOf(rule)} ${accessText(rule.access)} inside the earlier rule for ${key}`,
      );
    }
    const access = exception.access & ~rule.access;
    if (access === 0) exceptions.delete(key);
    else exceptions.set(key, { ...exception, access });
  }
}

/**
 * The table for a policy. Raises SPEC_UNSUPPORTED for a rule that would need a hole in a wildcard: the kernel would
 * take the write and ignore it, and the spec's author would believe in a lock that is not there.
 */
export function toDeviceTable(policy: DevicePolicy): DeviceTable {
  const exceptions = new Map<string, Exception>();
  for (const rule of policy.rules) {
    if (rule.allow === (policy.otherwise === 'allow')) {
      revoke(exceptions, rule);
      continue;
    }
    const key = keyOf(rule);
    const { type, major, minor } = rule;
    exceptions.set(key, { type, major, minor, access: (exceptions.get(key)?.access ?? 0) | rule.access });
  }
  const entries = [...exceptions].map(([key, exception]) => [key, exception.access] as const);
  return { otherwise: policy.otherwise, exceptions: new Map(entries) };
}

/**
 * Reads devices.list. It lists what is allowed; a cgroup that allows by default shows one line for all and hides what
 * it denies, so its exceptions are unknown (left empty).
 */
export function parseDevicesList(text: string): DeviceTable {
  const exceptions = new Map<string, number>();
  for (const line of text.split('\n')) {
    const match = /^([abc]) (\S+) ([rwm]+)$/.exec(line.trim());
    if (match === null) continue;
    const [, type, numbers, access] = match as unknown as [string, string, string, string];
    if (type === 'a') return { otherwise: 'allow', exceptions: new Map() };
    exceptions.set(`${type} ${numbers}`, accessBits(access));
  }
  return { otherwise: 'deny', exceptions };
}

/**
 * The writes that turn the present table into the wanted one. When both deny by default only the differences are
 * written, so that a running container never loses a device in between; otherwise everything starts anew.
 * `present` is undefined for a fresh cgroup, which has its parent's table.
 */
export function planDeviceTable(directory: string, wanted: DeviceTable, present: DeviceTable | undefined): Write[] {
  const write = (verb: 'allow' | 'deny', value: string): Write => ({
    file: `${directory}/devices.${verb}`,
    value,
    why: `devices: ${verb} ${value}`,
  });
  const exceptional = wanted.otherwise === 'allow' ? 'deny' : 'allow';
  const keeps = present?.otherwise === 'deny' && wanted.otherwise === 'deny' ? present.exceptions : undefined;
  const writes: Write[] = [];
  if (keeps === undefined) writes.push(write(wanted.otherwise, 'a *:* rwm'));
  for (const [key, access] of keeps ?? []) {
    const dropped = access & ~(wanted.exceptions.get(key) ?? 0);
    if (dropped !== 0) writes.push(write('deny', `${key} ${accessText(dropped)}`));
  }
  for (const [key, access] of wanted.exceptions) {
    const gained = access & ~(keeps?.get(key) ?? 0);
    if (gained !== 0) writes.push(write(exceptional, `${key} ${accessText(gained)}`));
  }
  return writes;
}
