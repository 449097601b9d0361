import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative } from '../native';
import { Kernel } from '../syscall';
import { type Cgroup, compileDeviceProgram, parseDevicePolicy } from './cgroup';
import { attachDeviceFilter } from './device-filter';

/** Of a cgroup v2 host, or the empty unified hierarchy of a hybrid one: device programs work in both. */
const mountPoint = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) => existsSync(join(path, 'cgroup.procs')));
const possible = process.getuid?.() === 0 && mountPoint !== undefined;
const testHere = possible ? test : test.skip;

testHere(
  `the filter refuses what the rules do not allow${possible ? '' : ' [skipped: needs root and cgroup2]'}`,
  () => {
    const path = join(mountPoint!, `silt-device-filter-${process.pid}`);
    const cgroup: Cgroup = {
      mode: 'v2',
      directories: [{ version: 2, mountPoint: mountPoint!, controllers: [], path }],
    };
    const rules: Parameters<typeof parseDevicePolicy>[0] = [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
    ];
    mkdirSync(path);
    try {
      attachDeviceFilter(new Kernel(loadNative(), -1), cgroup, compileDeviceProgram(parseDevicePolicy(rules, '$')));
      const script = `echo $$ > ${path}/cgroup.procs && echo > /dev/null && echo null && head -c 1 /dev/kmsg`;
      const { status, stdout, stderr } = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
      expect({ status, stdout }).toEqual({ status: 1, stdout: 'null\n' });
      expect(stderr).toContain('Operation not permitted');
    } finally {
      rmdirSync(path);
    }
  },
);
