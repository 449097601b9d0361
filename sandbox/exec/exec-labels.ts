import { SiltError } from '../../errors';
import type { Process as ProcessSpec } from '../../oci';
import type { Host } from '../host';
import type { ExecLabel } from '../programs/process';

/**
 * What the spec's AppArmor profile and SELinux label ask for. A process that AppArmor shall leave alone needs no AppArmor.
 * @throws SiltError HOST_UNSUPPORTED when the host does not have the security module: confinement that is asked for and not there
 * must not go unnoticed.
 */
export function execLabels(
  { apparmorProfile = '', selinuxLabel = '' }: Pick<ProcessSpec, 'apparmorProfile' | 'selinuxLabel'>,
  { securityModules }: Pick<Host, 'securityModules'>,
): ExecLabel[] {
  const labels: ExecLabel[] = [];
  if (apparmorProfile !== '' && (securityModules.apparmor || apparmorProfile !== 'unconfined')) {
    if (!securityModules.apparmor) throw missing('$.process.apparmorProfile', apparmorProfile, 'AppArmor');
    labels.push({ file: 'apparmor/exec', text: `exec ${apparmorProfile}` });
  }
  if (selinuxLabel !== '') {
    if (!securityModules.selinux) throw missing('$.process.selinuxLabel', selinuxLabel, 'SELinux');
    labels.push({ file: 'exec', text: selinuxLabel });
  }
  return labels;
}

function missing(jsonPath: string, value: string, name: string): SiltError {
  const message = `${jsonPath}: ${JSON.stringify(value)} needs ${name}, which the kernel of this host does not have enabled; leave it out, or enable ${name}`;
  return new SiltError('HOST_UNSUPPORTED', message, { jsonPath });
}
