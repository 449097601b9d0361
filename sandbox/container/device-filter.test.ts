import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadNative } from '../../native';
import { SiltError } from '../../errors';
import { Kernel } from '../../syscall';
import { type Cgroup, compileDeviceProgram, parseDevicePolicy } from '../cgroup';
import { attachDeviceFilter, replaceDeviceFilter } from './device-filter';

/** Of a cgroup v2 host, or the empty unified hierarchy of a hybrid one: device programs work in both. */
const mountPoint = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) => existsSync(join(path, 'cgroup.procs')));
const possible = process.getuid?.() === 0 && mountPoint !== undefined;
const testHere = possible ? test : test.skip;

type Rules = Parameters<typeof parseDevicePolicy>[0];
const NULL_ONLY: Rules = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
];
/** /dev/kmsg is none of the devices that every container has. */
const KMSG_TOO: Rules = [...NULL_ONLY, { allow: true, type: 'c', major: 1, minor: 11, access: 'rwm' }];

/** Runs `body` with the device programs of a cgroup of its own. */
function withCgroup(body: (cgroup: Cgroup, kernel: Kernel) => void): void {
  const path = join(mountPoint!, `silt-device-filter-${process.pid}`);
  mkdirSync(path);
  try {
    body({ mode: 'v2', directories: [{ version: 2, mountPoint: mountPoint!, controllers: [], path }] }, new Kernel(loadNative(), -1)); // prettier-ignore
  } finally {
    rmdirSync(path);
  }
}

const compiled = (rules: Rules): Uint8Array => compileDeviceProgram(parseDevicePolicy(rules, '$'));

/** The devices of these that a process in the cgroup can open. */
function openable(cgroup: Cgroup): string {
  const script = `echo $$ > ${cgroup.directories[0]!.path}/cgroup.procs; for d in null kmsg; do (: < /dev/$d) && echo $d; done`;
  return spawnSync('sh', ['-c', script], { encoding: 'utf8' }).stdout.split('\n').join(' ').trim();
}

testHere(
  `a filter takes the place of the one before, or of none${possible ? '' : ' [skipped: needs root and cgroup2]'}`,
  () => {
    withCgroup((cgroup, kernel) => {
      expect(openable(cgroup)).toBe('null kmsg');
      replaceDeviceFilter(kernel, cgroup, compiled(NULL_ONLY));
      expect(openable(cgroup)).toBe('null');
      replaceDeviceFilter(kernel, cgroup, compiled(KMSG_TOO));
      expect(openable(cgroup)).toBe('null kmsg');
    });
  },
);

testHere(
  `the filter refuses what the rules do not allow${possible ? '' : ' [skipped: needs root and cgroup2]'}`,
  () => {
    withCgroup((cgroup, kernel) => {
      attachDeviceFilter(kernel, cgroup, compiled(NULL_ONLY));
      const script = `echo $$ > ${cgroup.directories[0]!.path}/cgroup.procs && echo > /dev/null && echo null && head -c 1 /dev/kmsg`;
      const { status, stdout, stderr } = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
      expect({ status, stdout }).toEqual({ status: 1, stdout: 'null\n' });
      expect(stderr).toContain('Operation not permitted');
    });
  },
);

test.each([
  ['EAGAIN', 3, 4, undefined],
  ['EAGAIN', 9, 5, 'EAGAIN'],
  ['EPERM', 1, 1, 'EPERM'],
])('a load that fails with %s %i times is tried %i times', (errno, failures, tries, thrown) => {
  let runs = 0;
  const run = (): void => {
    if (++runs <= failures) throw new SiltError('SYSCALL_FAILED', errno, { errno, syscall: 'bpf' });
  };
  const kernel = { run } as unknown as Kernel;
  const directory = { version: 2, mountPoint: '/', controllers: [], path: '/' } as const;
  const attach = (): void => attachDeviceFilter(kernel, { mode: 'v2', directories: [directory] }, new Uint8Array(8));
  if (thrown === undefined) attach();
  else expect(attach).toThrow(thrown);
  expect(runs).toBe(tries);
});
