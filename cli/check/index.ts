/** `silt check`: what this host offers, feature by feature. */
import { readConfig } from '../../sandbox';
import { checkCgroups } from './cgroup';
import { checkEngines, type EngineFiles } from './engines';
import type { Finding } from './finding';
import type { HostView } from './host-view';
import { checkKernel } from './kernel';
import { checkCriu, checkSecurityModules } from './programs';

export type { Finding } from './finding';
export { thisHost } from './host-view';

export function checkHost(host: HostView, { criu, ...files }: EngineFiles & { criu: string }): Finding[] {
  return [
    ...checkKernel(host),
    ...checkCgroups(host),
    ...checkSecurityModules(host),
    checkCriu(host, criu),
    checkOwnConfig(),
    ...checkEngines(host, files),
  ];
}

function checkOwnConfig(): Finding {
  const feature = 'configuration';
  try {
    const { userns } = readConfig();
    return { feature, status: 'ok', found: `userns = "${userns}"` };
  } catch (error) {
    return {
      feature,
      status: 'missing',
      found: (error as Error).message,
      todo: 'correct it: no container starts meanwhile',
    };
  }
}
