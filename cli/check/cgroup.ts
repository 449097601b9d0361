import type { cgroups } from '../../sandbox';
import type { Finding } from './finding';
import type { HostView } from './host-view';

/** By what is lost without it. */
const CONTROLLERS: Readonly<Record<string, string>> = {
  memory: 'memory limits',
  cpu: 'CPU shares and quotas',
  cpuset: 'CPU sets',
  pids: 'limits on processes',
  devices: 'rules for devices',
  freezer: 'pausing, and snapshots that freeze',
};

export function checkCgroups(host: HostView): Finding[] {
  let found: cgroups.Hierarchies;
  try {
    found = host.hierarchies();
  } catch (error) {
    const todo = 'mount cgroup2 at /sys/fs/cgroup, as systemd does';
    return [{ feature: 'cgroups', status: 'missing', found: (error as Error).message, todo }];
  }
  const { mode, list } = found;
  const available = new Set(list.flatMap(({ controllers }) => controllers));
  const lacking = Object.keys(CONTROLLERS).filter((name) => !available.has(name));
  const words = { v1: 'version 1', v2: 'version 2', hybrid: 'controllers in version 1, and an empty version 2' };
  const lost = lacking.map((name) => `${name} (${CONTROLLERS[name]!})`).join(', ');
  const controllers: Finding =
    lacking.length === 0
      ? { feature: 'controllers', status: 'ok', found: Object.keys(CONTROLLERS).join(' ') }
      : {
          feature: 'controllers',
          status: 'limited',
          found: `without ${lost}`,
          todo: 'mount them, or enable them in cgroup.subtree_control',
        };
  const systemd: Finding = host.exists('/run/systemd/system')
    ? { feature: 'systemd', status: 'ok', found: 'runs' }
    : { feature: 'systemd', status: 'absent', found: 'does not run', todo: '--systemd-cgroup needs it' };
  return [{ feature: 'cgroups', status: 'ok', found: words[mode] }, controllers, systemd];
}
