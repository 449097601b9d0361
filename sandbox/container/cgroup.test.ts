import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, openInterpreter } from '../../native';
import type { IntelRdt } from '../../oci';
import { Kernel } from '../../syscall';
import { type Cgroup, cgroupEntry } from '../cgroup';
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

  /** Makes a class in a cgroup that is a directory here. */
  const make = async (
    { cgroup, ...plan }: ContainerCgroupPlan,
    kernel = new Kernel(loadNative(), -1),
  ): Promise<Cgroup> => {
    const path = join(directory, 'cgroup');
    const here = { ...cgroup, directories: [{ version: 2, mountPoint: directory, controllers: [], path }] as const };
    const empty = { delegations: [], inheritances: [], writes: [], deviceProgram: undefined };
    await makeContainerCgroup(kernel, 'web', { ...plan, ...empty, cgroup: here, directories: [path] }, undefined);
    return here;
  };

  test('comes and goes with the cgroup', async () => {
    const here = await make(planOf({}));
    expect([join(directory, 'cgroup'), join(directory, 'web')].map(existsSync)).toEqual([true, true]);
    await removeContainerCgroup(here);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('is looked at under the lock of the filesystem, where another may be making it', async () => {
    const other = spawn('flock', [directory, 'sh', '-c', 'echo; read end'], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(other.stdout, 'data');
    const interpreter = openInterpreter();
    try {
      const making = make(planOf({ closID: 'gold', l3CacheSchema: 'L3:0=f' }), new Kernel(loadNative(), interpreter));
      // As the other has it half made.
      mkdirSync(join(directory, 'gold'));
      writeFileSync(join(directory, 'gold/tasks'), '');
      writeFileSync(join(directory, 'gold/schemata'), 'L3:0=7ff\n');
      await new Promise((resolve) => setTimeout(resolve, 20));
      writeFileSync(join(directory, 'gold/schemata'), 'L3:0=f\n');
      other.stdin.end();
      await making;
    } finally {
      other.stdin.end();
      closeSync(interpreter);
    }
  });
});
