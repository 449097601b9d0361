/**
 * The real thing, as root on this host's own cgroup hierarchies. v1 and hybrid hosts run all of it. On a hybrid host
 * the unified hierarchy, which has no controllers there, stands in for v2: freezing, killing, listing and removing are
 * v2's real files; limits of v2 (memory.max and the like) cannot be tried here.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs';
import { cgroupEntry, findDirectory, findUnifiedDirectory, type Cgroup } from './cgroup';
import { applyWrites, createCgroup } from './create';
import { freeze, isFrozen, readFreezerState, thaw } from './freezer';
import { parseHierarchies, readHierarchies, type Hierarchies } from './hierarchies';
import { oomKills, registerOomEvent } from './oom';
import { planCgroup, type CgroupPlan } from './plan';
import { killAll, listPids, signalAll } from './processes';
import { refusal, refusalOf } from './refusal';
import { removeCgroup } from './remove';
import { readMetrics } from './stats';
import { planChange } from './update';
import type { Resources } from '../../oci';

function updateCgroup(cgroup: Cgroup, resources: Resources): void {
  applyWrites(planChange(cgroup, resources).writes);
}

const isRoot = process.getuid?.() === 0;
const hierarchies = readHierarchies();
const PREFIX = `/silt-test-${process.pid}`;
let serial = 0;

function reasonToSkip(modes: readonly string[]): string | undefined {
  if (!isRoot) return 'needs root';
  return modes.includes(hierarchies.mode) ? undefined : `this host is ${hierarchies.mode}, not ${modes.join(' or ')}`;
}

function describeOn(title: string, modes: readonly string[], body: () => void): void {
  const reason = reasonToSkip(modes);
  if (reason === undefined) {
    describe(title, body);
    return;
  }
  process.stderr.write(`skipped: ${title}: ${reason}\n`);
  describe.skip(`${title} (${reason})`, body);
}

let children: ChildProcess[] = [];

function create(resources: Resources, on: Hierarchies = hierarchies): Cgroup {
  const plan: CgroupPlan = planCgroup({ resources, cgroupsPath: `${PREFIX}-${serial++}`, id: 'test', hierarchies: on });
  createCgroup(plan);
  applyWrites(plan.laterWrites);
  return plan.cgroup;
}

function joinFiles(cgroup: Cgroup): string[] {
  const { into, files } = cgroupEntry(cgroup);
  return files.length > 0 ? [...files] : [`${into}/cgroup.procs`];
}

/** Starts a program that first enters the cgroup by itself, as a container's first process does. */
function startInside(cgroup: Cgroup, command: string): ChildProcess {
  const script = `for file in "$@"; do echo 0 > "$file" || exit 99; done; exec ${command}`;
  const child = spawn('/bin/sh', ['-c', script, 'sh', ...joinFiles(cgroup)], { stdio: 'ignore' });
  children.push(child);
  return child;
}

async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; round < 400 && !condition(); round++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

async function startSleeper(cgroup: Cgroup): Promise<ChildProcess> {
  const child = startInside(cgroup, 'sleep 600');
  const isThere = (): boolean => readFileSync(`/proc/${child.pid!}/cmdline`, 'utf8').startsWith('sleep');
  await until(() => listPids(cgroup).includes(child.pid!) && isThere());
  return child;
}

/** State letter of a process: S sleeping, T stopped, D uninterruptible (frozen on v1). */
function stateOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '')[0]!;
}

function leftovers(): string[] {
  return hierarchies.list.flatMap(({ mountPoint }) =>
    readdirSync(mountPoint)
      .filter((name) => `/${name}`.startsWith(`${PREFIX}-`))
      .map((name) => `${mountPoint}/${name}`),
  );
}

/**
 * Thaws, kills and removes what is in a directory by the plainest means, so that a bug in the code under test leaves
 * nothing.
 */
function scour(directory: string): void {
  for (const [file, word] of [
    ['freezer.state', 'THAWED'],
    ['cgroup.freeze', '0'],
  ] as const) {
    if (existsSync(`${directory}/${file}`)) writeFileSync(`${directory}/${file}`, word);
  }
  for (const pid of readFileSync(`${directory}/cgroup.procs`, 'utf8').split('\n').filter(Boolean)) {
    spawnSync('/bin/kill', ['-KILL', pid]);
  }
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) scour(`${directory}/${entry.name}`);
  }
  try {
    rmdirSync(directory);
  } catch {
    // Busy as yet: the next round gets it.
  }
}

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  for (let round = 0; round < 100 && leftovers().length > 0; round++) {
    leftovers().forEach(scour);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(leftovers()).toEqual([]);
});

const read = (cgroup: Cgroup, controller: string, file: string): string =>
  readFileSync(`${findDirectory(cgroup, controller)!.path}/${file}`, 'utf8').trim();

const MIB = 1024 * 1024;

describeOn('a cgroup on v1 controllers', ['v1', 'hybrid'], () => {
  test('limits are in force, a process enters every hierarchy, and nothing is left', async () => {
    const cgroup = create({
      memory: { limit: 64 * MIB, swap: 64 * MIB, reservation: 32 * MIB },
      cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: '0' },
      pids: { limit: 32 },
    });
    expect(read(cgroup, 'memory', 'memory.limit_in_bytes')).toBe(String(64 * MIB));
    expect(read(cgroup, 'memory', 'memory.memsw.limit_in_bytes')).toBe(String(64 * MIB));
    expect(read(cgroup, 'memory', 'memory.soft_limit_in_bytes')).toBe(String(32 * MIB));
    expect(read(cgroup, 'cpu', 'cpu.shares')).toBe('512');
    expect(read(cgroup, 'cpu', 'cpu.cfs_quota_us')).toBe('50000');
    expect(read(cgroup, 'cpuset', 'cpuset.cpus')).toBe('0');
    expect(read(cgroup, 'cpuset', 'cpuset.mems')).not.toBe('');
    expect(read(cgroup, 'pids', 'pids.max')).toBe('32');
    expect(read(cgroup, 'devices', 'devices.list').split('\n')).toContain('c 1:3 rwm');
    const { pid } = await startSleeper(cgroup);
    const membership = readFileSync(`/proc/${pid!}/cgroup`, 'utf8').trim().split('\n');
    const inside = membership.filter((line) => line.includes(PREFIX));
    expect(inside).toHaveLength(hierarchies.list.filter(({ version }) => version === 1).length);
    await killAll(cgroup);
    await removeCgroup(cgroup);
    await removeCgroup(cgroup);
    expect(leftovers()).toEqual([]);
  });

  test('devices: what is not allowed cannot be opened, what always is can', async () => {
    const cgroup = create({ devices: [{ allow: false, access: 'rwm' }] });
    const exitCode = async (command: string): Promise<unknown> => (await once(startInside(cgroup, command), 'exit'))[0];
    expect(await exitCode('cat /dev/null')).toBe(0);
    expect(await exitCode('dd if=/dev/kmsg count=0 status=none')).toBe(1);
    updateCgroup(cgroup, { devices: [{ allow: true, type: 'c', major: 1, minor: 11, access: 'rw' }] });
    expect(await exitCode('dd if=/dev/kmsg count=0 status=none')).toBe(0);
  });

  test('nested paths: parents are made with cpusets, and stay', async () => {
    const plan = planCgroup({ resources: {}, cgroupsPath: `${PREFIX}-n/deep/er`, id: 'test', hierarchies });
    createCgroup(plan);
    await startSleeper(plan.cgroup);
    await killAll(plan.cgroup);
    await removeCgroup(plan.cgroup);
    const { path, mountPoint } = findDirectory(plan.cgroup, 'memory')!;
    expect(existsSync(path)).toBe(false);
    expect(existsSync(`${mountPoint}${PREFIX}-n/deep`)).toBe(true);
  });

  test('a limit that the kernel refuses undoes the whole creation', () => {
    const error = refusal(() => create({ cpu: { cpus: '4000' } }));
    expect(error).toMatchObject({ code: 'SYSCALL_FAILED', details: { jsonPath: '$.linux.resources.cpu.cpus' } });
    expect(error.message).toContain('does not have');
    expect(leftovers()).toEqual([]);
    expect(
      refusal(() => create({ blockIO: { throttleReadBpsDevice: [{ major: 250, minor: 77, rate: 5 }] } })),
    ).toMatchObject({
      code: 'SYSCALL_FAILED',
      details: { errno: 'ENODEV' },
    });
    expect(leftovers()).toEqual([]);
  });

  test('freeze and thaw: processes stop, run on, and a frozen container can be killed', async () => {
    const cgroup = create({});
    const { pid } = startInside(cgroup, 'sh -c "while :; do :; done"');
    await until(() => listPids(cgroup).includes(pid!));
    expect(isFrozen(cgroup)).toBe(false);
    await freeze(cgroup);
    expect([readFreezerState(cgroup), isFrozen(cgroup)]).toEqual(['frozen', true]);
    const usage = (): bigint => BigInt(read(cgroup, 'cpuacct', 'cpuacct.usage'));
    const before = usage();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(usage()).toBe(before);
    await freeze(cgroup);
    thaw(cgroup);
    expect(isFrozen(cgroup)).toBe(false);
    await until(() => usage() > before);
    await freeze(cgroup);
    await killAll(cgroup);
    expect(listPids(cgroup)).toEqual([]);
  });

  test('a container whose parent is frozen is not taken for paused, and none is made there', async () => {
    const parent = create({});
    const inside = (name: string): CgroupPlan =>
      planCgroup({ resources: {}, cgroupsPath: `${PREFIX}-${serial - 1}/${name}`, id: 'test', hierarchies });
    const child = inside('child');
    createCgroup(child);
    await freeze(parent);
    expect([readFreezerState(child.cgroup), isFrozen(child.cgroup)]).toEqual(['frozen', false]);
    expect(refusal(() => createCgroup(inside('late'))).code).toBe('WRONG_STATE');
    thaw(parent);
    expect(readFreezerState(child.cgroup)).toBe('thawed');
  });

  test('signals reach every process, forks and cgroups beneath too, while they are frozen', async () => {
    const cgroup = create({});
    const below = findDirectory(cgroup, 'freezer')!;
    mkdirSync(`${below.path}/below`);
    await startSleeper(cgroup);
    const tree = startInside(cgroup, `sh -c "echo 0 > ${below.path}/below/tasks; sleep 600 & sleep 600"`);
    await until(() => listPids(cgroup).length >= 3);
    expect(listPids(cgroup)).toContain(tree.pid);
    let seen: boolean | undefined;
    await signalAll(cgroup, 'SIGTERM', async () => {
      await freeze(cgroup);
      return () => {
        // The signals wait for the thaw.
        seen = isFrozen(cgroup) && listPids(cgroup).length >= 3;
        thaw(cgroup);
      };
    });
    expect(seen).toBe(true);
    await until(() => listPids(cgroup).length === 0);
    await removeCgroup(cgroup);
    expect(existsSync(below.path)).toBe(false);
  });

  test('a fork bomb is killed', async () => {
    const cgroup = create({ pids: { limit: 64 } });
    startInside(cgroup, `sh -c 'while :; do sleep 0.01 & sleep 0.01 & done'`);
    await until(() => listPids(cgroup).length > 3);
    await killAll(cgroup);
    expect(listPids(cgroup)).toEqual([]);
  });

  test('a cgroup in use is not removed, nor made again', async () => {
    const cgroup = create({});
    const { pid } = await startSleeper(cgroup);
    const error = await refusalOf(removeCgroup(cgroup, { timeoutMs: 20 }));
    expect(error).toMatchObject({ code: 'SYSCALL_FAILED', details: { errno: 'EBUSY' } });
    expect(error.message).toContain(`processes ${pid!}`);
    const again = planCgroup({ resources: {}, cgroupsPath: `${PREFIX}-${serial - 1}`, id: 'test', hierarchies });
    expect(refusal(() => createCgroup(again)).code).toBe('CONTAINER_EXISTS');
    expect(listPids(cgroup)).toEqual([pid]);
  });

  test('update: limits move in both directions, and one below the usage is refused with the usage', async () => {
    const cgroup = create({ memory: { limit: 32 * MIB, swap: 32 * MIB } });
    const limits = (): string[] => [
      read(cgroup, 'memory', 'memory.limit_in_bytes'),
      read(cgroup, 'memory', 'memory.memsw.limit_in_bytes'),
    ];
    updateCgroup(cgroup, { memory: { limit: 128 * MIB, swap: 256 * MIB } });
    expect(limits()).toEqual([String(128 * MIB), String(256 * MIB)]);
    updateCgroup(cgroup, { memory: { limit: 16 * MIB, swap: 16 * MIB } });
    expect(limits()).toEqual([String(16 * MIB), String(16 * MIB)]);
    updateCgroup(cgroup, { memory: { limit: -1 } });
    expect(limits().every((limit) => BigInt(limit) > 2n ** 62n)).toBe(true);
    updateCgroup(cgroup, { cpu: { quota: 50_000, period: 100_000 } });
    updateCgroup(cgroup, { cpu: { quota: 5000, period: 10_000, burst: 5000 } });
    updateCgroup(cgroup, { cpu: { quota: 2000, burst: 1000 } });
    expect([read(cgroup, 'cpu', 'cpu.cfs_quota_us'), read(cgroup, 'cpu', 'cpu.cfs_burst_us')]).toEqual([
      '2000',
      '1000',
    ]);
    // Without swap, what a program keeps in memory cannot be reclaimed.
    startInside(
      cgroup,
      `${process.execPath} -e "globalThis.kept = Buffer.alloc(30000000, 1); setInterval(() => {}, 1000)"`,
    );
    await until(() => BigInt(read(cgroup, 'memory', 'memory.usage_in_bytes')) > 30_000_000n);
    const error = refusal(() => updateCgroup(cgroup, { memory: { limit: 4 * MIB } }));
    expect(error).toMatchObject({ code: 'SYSCALL_FAILED', details: { errno: 'EBUSY', jsonPath: '$.memory.limit' } });
    expect(error.message).toMatch(/usage \d{8,}, peak \d{8,}/);
    const asked = refusal(() => updateCgroup(cgroup, { memory: { limit: 4 * MIB, checkBeforeUpdate: true } }));
    expect(asked.code).toBe('WRONG_STATE');
  });

  test('metrics', async () => {
    const cgroup = create({ memory: { limit: 64 * MIB }, pids: { limit: 32 } });
    await startSleeper(cgroup);
    const metrics = readMetrics(cgroup);
    expect(metrics).toMatchObject({
      version: 1,
      pids: { current: 1n, limit: 32n },
      memory: { usage: { limit: BigInt(64 * MIB) } },
    });
    const { cpu, memory, blkio, memoryOomControl } = metrics as Extract<typeof metrics, { version: 1 }>;
    expect(cpu!.usage!.total).toBeGreaterThan(0n);
    expect(cpu!.usage!.total).toBeGreaterThanOrEqual(cpu!.usage!.user);
    expect(cpu!.usage!.perCpu.length).toBeGreaterThan(0);
    expect(cpu!.throttling!.periods).toBe(0n);
    expect(memory!.usage!.usage).toBeGreaterThan(0n);
    expect(memory!.hierarchicalMemoryLimit).toBe(BigInt(64 * MIB));
    expect(memoryOomControl).toEqual({ oomKillDisable: 0n, underOom: 0n, oomKill: 0n });
    expect(blkio).toHaveProperty('ioServicedRecursive');
  });

  test('an OOM kill is counted, and told through an eventfd', () => {
    const cgroup = create({ memory: { limit: 16 * MIB, swap: 16 * MIB } });
    // No eventfd can be made from JavaScript; libuv has some in this process, and another 1 on one of them does no harm. Nothing
    // drains the main loop's while this test does not return to it.
    const eventFds = readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).includes('[eventfd]'));
    const counts = (): number =>
      eventFds.reduce(
        (sum, fd) => sum + Number.parseInt(/eventfd-count:\s*(\w+)/.exec(readFdInfo(fd))?.[1] ?? '0', 16),
        0,
      );
    for (const fd of eventFds) registerOomEvent(cgroup, Number(fd));
    const before = counts();
    expect(oomKills(cgroup)).toBe(0n);
    const script = 'for file in "$@"; do echo 0 > "$file" || exit 99; done; exec tail /dev/zero';
    const hog = spawnSync('/bin/sh', ['-c', script, 'sh', ...joinFiles(cgroup)], { stdio: 'ignore', timeout: 20_000 });
    expect(hog.signal).toBe('SIGKILL');
    expect(counts()).toBeGreaterThan(before);
    expect(oomKills(cgroup)).toBe(1n);
  });
});

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // The fd of the directory listing itself is closed by now.
    return '';
  }
}

function readFdInfo(fd: string): string {
  return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
}

describeOn('a cgroup on the unified hierarchy', ['hybrid', 'v2'], () => {
  /**
   * This host's unified hierarchy as if it were all there is, with the controllers that it has to offer: none, on a
   * hybrid host.
   */
  function unifiedAlone(): Hierarchies {
    const mountPoint = hierarchies.list.find(({ version }) => version === 2)!.mountPoint;
    return parseHierarchies({
      mountinfo: `41 31 0:38 / ${mountPoint} rw - cgroup2 cgroup2 rw\n`,
      selfCgroup: '0::/\n',
      readControllers: () => '',
    });
  }

  test('a process enters, stops, runs on, is killed by cgroup.kill, and nothing is left', async () => {
    const cgroup = create({ unified: { 'cgroup.max.depth': '3' } }, unifiedAlone());
    const { path } = findUnifiedDirectory(cgroup)!;
    expect(readFileSync(`${path}/cgroup.max.depth`, 'utf8')).toBe('3\n');
    const child = await startSleeper(cgroup);
    expect(listPids(cgroup)).toEqual([child.pid]);
    await freeze(cgroup);
    expect(isFrozen(cgroup)).toBe(true);
    expect(stateOf(child.pid!)).toBe('S');
    thaw(cgroup);
    await until(() => readFreezerState(cgroup) === 'thawed');
    mkdirSync(`${path}/below`);
    await freeze(cgroup);
    const exit = once(child, 'exit');
    await killAll(cgroup);
    expect((await exit)[1]).toBe('SIGKILL');
    expect(readMetrics(cgroup)).toMatchObject({ version: 2, cpu: { nrPeriods: 0n } });
    await removeCgroup(cgroup);
    expect(existsSync(path)).toBe(false);
  });

  test('a limit whose controller is not switched on is SPEC_UNSUPPORTED, and nothing is left', () => {
    const offered: Hierarchies = {
      mode: 'v2',
      list: unifiedAlone().list.map((one) => ({ ...one, controllers: [...one.controllers, 'memory'] })),
    };
    const error = refusal(() => create({ memory: { limit: MIB } }, offered));
    expect(error).toMatchObject({ code: 'SPEC_UNSUPPORTED', details: { jsonPath: '$.linux.resources.memory.limit' } });
    expect(error.message).toContain('cannot write "+memory"');
    expect(leftovers()).toEqual([]);
  });
});
