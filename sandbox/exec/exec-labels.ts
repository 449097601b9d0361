import { SiltError } from '../../errors';
import type { Process as ProcessSpec, Spec } from '../../oci';
import type { Host } from '../host';
import type { ExecLabel } from '../programs/process';

type LabellingHost = Pick<Host, 'securityModules' | 'hasSelinuxLabel'>;

/**
 * What the spec's AppArmor profile and SELinux label ask for. A process that AppArmor shall leave alone needs no AppArmor.
 * @throws SiltError HOST_UNSUPPORTED when the host does not have the security module: confinement that is asked for and not there
 * must not go unnoticed. SPEC_INVALID for a label of SELinux that its policy does not have.
 */
export function execLabels(
  { apparmorProfile = '', selinuxLabel = '' }: Pick<ProcessSpec, 'apparmorProfile' | 'selinuxLabel'>,
  host: LabellingHost,
): ExecLabel[] {
  const labels: ExecLabel[] = [];
  const { securityModules } = host;
  if (apparmorProfile !== '' && (securityModules.apparmor || apparmorProfile !== 'unconfined')) {
    if (!securityModules.apparmor) throw missing('$.process.apparmorProfile', apparmorProfile, 'AppArmor');
    labels.push({ file: 'apparmor/exec', text: `exec ${apparmorProfile}` });
  }
  if (selinuxLabel !== '') {
    checkSelinuxLabel('$.process.selinuxLabel', selinuxLabel, host);
    // The session keyring is the process's, and made while it is still silt's.
    labels.push({ file: 'exec', text: selinuxLabel }, { file: 'keycreate', text: selinuxLabel });
  }
  return labels;
}

/** @throws SiltError HOST_UNSUPPORTED, SPEC_INVALID: as with the label of a process, and as runc, whose mounts fail then */
export function checkMountLabel({ linux }: Pick<Spec, 'linux'>, host: LabellingHost): void {
  if (linux?.mountLabel) checkSelinuxLabel('$.linux.mountLabel', linux.mountLabel, host);
}

function checkSelinuxLabel(jsonPath: string, label: string, host: LabellingHost): void {
  if (!host.securityModules.selinux) throw missing(jsonPath, label, 'SELinux');
  if (host.hasSelinuxLabel(label)) return;
  const message = `${jsonPath}: ${JSON.stringify(label)} is no label of the SELinux policy that this host has loaded; it wants user:role:type:level, such as system_u:object_r:container_file_t:s0:c1,c2`;
  throw new SiltError('SPEC_INVALID', message, { jsonPath });
}

function missing(jsonPath: string, value: string, name: string): SiltError {
  const message = `${jsonPath}: ${JSON.stringify(value)} needs ${name}, which the kernel of this host does not have enabled; leave it out, or enable ${name}`;
  return new SiltError('HOST_UNSUPPORTED', message, { jsonPath });
}
