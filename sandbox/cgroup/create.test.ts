import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import type { Cgroup } from './cgroup';
import { applyWrites, createCgroup, removeCreated } from './create';
import { planCgroup, type CgroupPlan } from './plan';
import { recordedHierarchies, type RecordedHost } from './recorded-hosts';
import { refusal } from './refusal';
import { makeTree, type Tree } from './tree';
import { planChange, readLimitsInForce } from './update';
import type { Resources } from '../../oci';

// Plain files stand in for cgroupfs here: a new directory has no files, so the leaf is laid out beforehand where its files are
// written. For v2 this is all there is: no host with v2 controllers was at hand.

let tree: Tree;
afterEach(() => {
  tree.remove();
});

function updateCgroup(cgroup: Cgroup, resources: Resources): void {
  applyWrites(planChange(cgroup, resources).writes);
}

const ALLOW_ALL = [{ allow: true, access: 'rwm' }] as const;

function plan(host: RecordedHost, resources: Resources): CgroupPlan {
  return planCgroup({
    resources: { devices: ALLOW_ALL, ...resources },
    cgroupsPath: '/default/x',
    id: 'x',
    hierarchies: recordedHierarchies(host, tree.root),
  });
}

const listTree = (): string[] => readdirSync(tree.root, { recursive: true }).map(String).sort();

/** The mount points of the recorded v1 host. */
const HIERARCHY_ROOTS = [
  'blkio',
  'cpu,cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'memory',
  'net_cls,net_prio',
  'pids',
  'rdma',
  'systemd',
];

/** The files of a v1 leaf that every plan writes or reads. */
const V1_LEAF = {
  'devices/default/x/devices.allow': '',
  'cpuset/cpuset.cpus': '0-3\n',
  'cpuset/cpuset.mems': '0\n',
  'cpuset/default/cpuset.cpus': '\n',
  'cpuset/default/cpuset.mems': '0\n',
  'cpuset/default/x/cpuset.cpus': '',
  'cpuset/default/x/cpuset.mems': '',
};

function makeV1Tree(files: Readonly<Record<string, string>>): Tree {
  const made = makeTree({ ...V1_LEAF, ...files });
  for (const name of HIERARCHY_ROOTS) mkdirSync(`${made.root}/${name}`, { recursive: true });
  return made;
}

describe('making a cgroup', () => {
  test('v1: directories everywhere, empty cpusets take over their parent’s, limits are written', () => {
    tree = makeV1Tree({ 'memory/default/x/memory.limit_in_bytes': '', 'pids/default/x/pids.max': 'max\n' });
    const planned = plan('v1', { memory: { limit: 4096 }, pids: { limit: 9 } });
    const created = createCgroup(planned);
    expect(tree.read('memory/default/x/memory.limit_in_bytes')).toBe('4096');
    expect(tree.read('pids/default/x/pids.max')).toBe('max\n');
    applyWrites(planned.laterWrites);
    expect(tree.read('pids/default/x/pids.max')).toBe('9');
    expect(tree.read('devices/default/x/devices.allow')).toBe('a *:* rwm');
    expect(tree.read('cpuset/default/cpuset.cpus')).toBe('0-3');
    expect(tree.read('cpuset/default/cpuset.mems')).toBe('0\n');
    expect(tree.read('cpuset/default/x/cpuset.cpus')).toBe('0-3');
    expect(tree.read('cpuset/default/x/cpuset.mems')).toBe('0');
    expect(created).toContain(`${tree.root}/freezer/default/x`);
    expect(created).not.toContain(`${tree.root}/memory/default`);
  });

  test('a failure removes what was made and nothing else', () => {
    tree = makeV1Tree({ 'memory/default/x/memory.limit_in_bytes': '' });
    mkdirSync(`${tree.root}/freezer/default`, { recursive: true });
    const before = listTree();
    const error = refusal(() => createCgroup(plan('v1', { memory: { limit: 4096 }, cpu: { shares: 9 } })));
    expect(error).toMatchObject({
      code: 'SPEC_UNSUPPORTED',
      message: `CPU shares ($.linux.resources.cpu.shares): this host has no ${tree.root}/cpu,cpuacct/default/x/cpu.shares`,
      details: { jsonPath: '$.linux.resources.cpu.shares', errno: 'ENOENT' },
    });
    expect(listTree()).toEqual(before);
  });

  test('a cgroup with processes in it is refused and left alone', () => {
    tree = makeV1Tree({ 'freezer/default/x/cgroup.procs': '17\n4\n' });
    const error = refusal(() => createCgroup(plan('v1', {})));
    expect(error).toMatchObject({ code: 'CONTAINER_EXISTS', details: { path: `${tree.root}/freezer/default/x` } });
    expect(error.message).toContain('4, 17');
    expect(existsSync(`${tree.root}/freezer/default/x`)).toBe(true);
    expect(existsSync(`${tree.root}/pids/default/x`)).toBe(false);
  });

  test.each<[RecordedHost, string, string]>([
    ['v1', 'freezer/default/x/freezer.state', 'FROZEN\n'],
    ['v1', 'freezer/default/x/freezer.state', 'FREEZING\n'],
    ['v2', 'default/x/cgroup.events', 'populated 0\nfrozen 1\n'],
  ])('a frozen cgroup is refused: the first process would hang (%s %s %j)', (host, file, text) => {
    tree = makeV1Tree({ [file]: text });
    expect(refusal(() => createCgroup(plan(host, {})))).toMatchObject({ code: 'WRONG_STATE' });
  });

  test('v2: controllers are switched on from the top; what could not be is told when a limit misses its file', () => {
    tree = makeTree({ 'cgroup.subtree_control': '', 'default/x/cpu.weight': '100\n' });
    createCgroup(plan('v2', { cpu: { shares: 2 } }));
    expect(tree.read('cgroup.subtree_control')).toBe('+cpuset +cpu +io +memory +hugetlb +pids +rdma +misc');
    expect(tree.read('default/x/cpu.weight')).toBe('1');
    const error = refusal(() => createCgroup(plan('v2', { memory: { limit: 4096 } })));
    expect(error.code).toBe('SPEC_UNSUPPORTED');
    expect(error.message).toContain(`this host has no ${tree.root}/default/x/memory.max`);
    expect(error.message).toContain(`cannot write "+memory" to ${tree.root}/default/cgroup.subtree_control: ENOENT`);
  });

  test('v2: io.weight stands in for BFQ; optional writes are left out', () => {
    tree = makeTree({ 'default/x/io.weight': '', 'default/x/hugetlb.2MB.max': '' });
    createCgroup(plan('v2', { blockIO: { weight: 1000 }, hugepageLimits: [{ pageSize: '2MB', limit: 5 }] }));
    expect(tree.read('default/x/io.weight')).toBe('10000');
    expect(tree.read('default/x/hugetlb.2MB.max')).toBe('5');
    expect(existsSync(`${tree.root}/default/x/hugetlb.2MB.rsvd.max`)).toBe(false);
  });

  test('what was made can be removed later; what is in use is reported', () => {
    tree = makeTree({ 'keep/me/file': '' });
    mkdirSync(`${tree.root}/a/b`, { recursive: true });
    const created = [`${tree.root}/a`, `${tree.root}/a/b`, `${tree.root}/gone`, `${tree.root}/keep`];
    expect(removeCreated(created)).toEqual([`${tree.root}/keep: ENOTEMPTY`]);
    expect(readdirSync(tree.root)).toEqual(['keep']);
  });
});

describe('writing', () => {
  test('a write to a cgroup that is gone is SYSCALL_FAILED, not a matter of the spec', () => {
    tree = makeTree({});
    const file = `${tree.root}/gone/pids.max`;
    expect(refusal(() => applyWrites([{ file, value: '1', why: 'pids limit' }]))).toMatchObject({
      code: 'SYSCALL_FAILED',
      message: `pids limit: cannot write "1" to ${file}: ENOENT (the cgroup or this file of it is not there)`,
      details: { path: file, syscall: 'write', errno: 'ENOENT' },
    });
  });

  test('writes stop at the first that fails', () => {
    tree = makeTree({ a: '', 'b/file': '', c: '' });
    const writes = ['a', 'b', 'c'].map((name) => ({ file: `${tree.root}/${name}`, value: name, why: name }));
    expect(refusal(() => applyWrites(writes))).toMatchObject({ code: 'SYSCALL_FAILED', details: { errno: 'EISDIR' } });
    expect([tree.read('a'), tree.read('c')]).toEqual(['a', '']);
  });
});

describe('updating', () => {
  test('v1: the limits in force, without those that are none', () => {
    tree = makeTree({
      'memory/default/x/memory.limit_in_bytes': '8192\n',
      'memory/default/x/memory.memsw.limit_in_bytes': '9223372036854771712\n',
      'memory/default/x/memory.usage_in_bytes': '4096\n',
      'cpu,cpuacct/default/x/cpu.cfs_quota_us': '-1\n',
      'cpu,cpuacct/default/x/cpu.cfs_period_us': '100000\n',
    });
    expect(readLimitsInForce(plan('v1', {}).cgroup)).toEqual({ memory: 8192n, memoryUsage: 4096n, period: 100_000n });
  });

  test('v2: the limits in force', () => {
    tree = makeTree({
      'default/x/memory.max': '8192\n',
      'default/x/memory.swap.max': 'max\n',
      'default/x/memory.current': '4096\n',
      'default/x/cpu.max': 'max 50000\n',
      'default/x/cpu.max.burst': '0\n',
    });
    expect(readLimitsInForce(plan('v2', {}).cgroup)).toEqual({
      memory: 8192n,
      memoryUsage: 4096n,
      period: 50_000n,
      burst: 0n,
    });
    tree.write('default/x/cpu.max', '20000 50000\n');
    updateCgroup(plan('v2', {}).cgroup, { cpu: { period: 25_000 } });
    expect(tree.read('default/x/cpu.max')).toBe('20000 25000');
  });

  test('v1: devices that are allowed already are not written again', () => {
    tree = makeTree({
      'devices/default/x/devices.list':
        'c *:* m\nb *:* m\nc 1:3 rwm\nc 1:8 rwm\nc 1:7 rwm\nc 5:0 rwm\nc 1:5 rwm\nc 1:9 rwm\nc 136:* rwm\nc 5:2 rwm\nc 10:200 rwm\n',
      'devices/default/x/devices.allow': 'untouched',
      'devices/default/x/devices.deny': 'untouched',
    });
    const { cgroup } = plan('v1', {});
    updateCgroup(cgroup, { devices: [{ allow: true, type: 'b', major: 8, minor: 0, access: 'r' }] });
    expect(tree.read('devices/default/x/devices.allow')).toBe('b 8:0 r');
    expect(tree.read('devices/default/x/devices.deny')).toBe('untouched');
  });

  test('the JSON path is that of the caller’s document', () => {
    tree = makeTree({});
    const { cgroup } = plan('v1', {});
    const update = (at?: string): unknown =>
      planChange(cgroup, { pids: { limit: 2 ** 40 } }, at === undefined ? {} : { at });
    expect(refusal(() => update()).details.jsonPath).toBe('$.pids.limit');
    expect(refusal(() => update('$.linux.resources')).details.jsonPath).toBe('$.linux.resources.pids.limit');
  });
});
