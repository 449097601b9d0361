import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../native';
import type { IntelRdt } from '../../oci';
import { Kernel } from '../../syscall';
import { cgroupEntry } from '../cgroup';
import { recordedHierarchies } from '../cgroup/recorded-hosts';
import { type ContainerCgroupPlan, makeContainerCgroup, planContainerCgroup, removeContainerCgroup } from './cgroup';

describe('a class of resctrl', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'silt-resctrl-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  const planOf = (intelRdt: IntelRdt): ContainerCgroupPlan => {
    const host = { hierarchies: recordedHierarchies('v2'), systemdRuns: false, resctrlMount: directory };
    return planContainerCgroup(host, { cgroupDriver: 'auto' }, { id: 'web', spec: { ociVersion: '1.2.0', linux: { intelRdt } } }); // prettier-ignore
  };

  test('is on record with the cgroup, without its schemata, and in the way into it', () => {
    const plan = planOf({ l3CacheSchema: 'L3:0=f', enableMonitoring: true });
    const path = join(directory, 'web');
    const group = { path, own: true, monitor: `${path}/mon_groups/web` };
    expect(plan.cgroup.resctrl).toEqual(group);
    expect(plan.resctrl).toEqual({ ...group, schemata: ['L3:0=f'] });
    expect(cgroupEntry(plan.cgroup).files).toEqual([`${path}/tasks`, `${path}/mon_groups/web/tasks`]);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('comes and goes with the cgroup', async () => {
    const { cgroup, ...plan } = planOf({});
    const path = join(directory, 'cgroup');
    const here = { ...cgroup, directories: [{ version: 2, mountPoint: directory, controllers: [], path }] as const };
    const empty = { delegations: [], inheritances: [], writes: [], deviceProgram: undefined };
    await makeContainerCgroup(
      new Kernel(loadNative(), -1),
      'web',
      { ...plan, ...empty, cgroup: here, directories: [path] },
      undefined,
    );
    expect([path, join(directory, 'web')].map(existsSync)).toEqual([true, true]);
    await removeContainerCgroup(here);
    expect(readdirSync(directory)).toEqual([]);
  });
});
