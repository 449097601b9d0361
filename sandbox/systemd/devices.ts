import { basename } from 'node:path';
import { SiltError } from '../../errors';
import { type Property, property } from './property';

const KINDS: Readonly<Record<string, string>> = { c: 'char', b: 'block' };

/**
 * The whole table of a v1 devices cgroup, as it is written to devices.deny and devices.allow, in systemd's words (DevicePolicy=,
 * DeviceAllow=): it knows a list of what is allowed where all else is denied, or everything. A unit that it was told nothing of it would
 * open to every device when it is reloaded. Pure; none without such writes.
 * @throws SiltError SPEC_UNSUPPORTED for a list of what is denied.
 */
export function deviceProperties(writes: readonly { readonly file: string; readonly value: string }[]): Property[] {
  const rules = writes.filter(({ file }) => /^devices\.(allow|deny)$/.test(basename(file)));
  const [first, ...exceptions] = rules.map(({ file, value }) => ({ allow: basename(file) === 'devices.allow', value }));
  if (first === undefined) return [];
  if (first.allow && exceptions.length > 0) {
    const message =
      'on cgroup v1 systemd takes no list of devices that are denied where all others are allowed: deny all first, and allow those that are wanted';
    throw new SiltError('SPEC_UNSUPPORTED', `$.linux.resources.devices: ${message}`, {
      jsonPath: '$.linux.resources.devices',
    });
  }
  const listed = exceptions.flatMap(({ value }) => allowed(value));
  const none = property('DeviceAllow', 'a(ss)', []);
  const policy = property('DevicePolicy', 's', first.allow ? 'auto' : 'strict');
  return listed.length === 0 ? [none, policy] : [none, policy, property('DeviceAllow', 'a(ss)', listed)];
}

/** `c 10:229 rw`. Of one number in every major systemd has no word: that is left out, and denied when it is reloaded. */
function allowed(rule: string): (readonly [path: string, access: string])[] {
  const [type = '', numbers = '', access = ''] = rule.split(' ');
  const [major, minor] = numbers.split(':');
  const kind = KINDS[type];
  if (kind === undefined || (major === '*' && minor !== '*')) return [];
  return [[minor === '*' ? `${kind}-${major}` : `/dev/${kind}/${numbers}`, access]];
}
