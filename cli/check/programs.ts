/** Programs and other parts of the system beside the kernel. */
import { isAtLeast, parseVersion } from '../../syscall';
import type { Finding } from './finding';
import type { HostView } from './host-view';

const LEAST_CRIU = [4, 1] as const;

export function checkSecurityModules(host: HostView): Finding[] {
  const apparmor = host.read('/sys/module/apparmor/parameters/enabled') === 'Y';
  const selinux = host.exists('/sys/fs/selinux/enforce');
  return [
    apparmor
      ? { feature: 'AppArmor', status: 'ok', found: 'enabled' }
      : { feature: 'AppArmor', status: 'absent', found: 'not enabled', todo: 'specs with a profile are refused' },
    selinux
      ? {
          feature: 'SELinux',
          status: 'ok',
          found: host.read('/sys/fs/selinux/enforce') === '1' ? 'enforcing' : 'permissive',
        }
      : { feature: 'SELinux', status: 'absent', found: 'not enabled', todo: 'specs with a label are refused' },
  ];
}

/** Only checkpoints need it. */
export function checkCriu(host: HostView, program: string): Finding {
  const feature = 'CRIU';
  const todo = `checkpoint and restore need CRIU ${LEAST_CRIU.join('.')} or later`;
  const text = host.run(program, '--version');
  if (text === undefined) return { feature, status: 'absent', found: `there is no ${program}`, todo };
  const found = `version ${/\d+(?:\.\d+)+/.exec(text)?.[0] ?? 'unknown'}`;
  return isAtLeast(parseVersion(text), LEAST_CRIU)
    ? { feature, status: 'ok', found }
    : { feature, status: 'limited', found, todo };
}
