import type { Cgroup } from './cgroup';
import { freeze, isFrozen, readFreezerState, thaw } from './freezer';
import { locateCgroup } from './location';
import { killAll, listPids, signalAll } from './processes';
import { recordedHierarchies, type RecordedHost } from './recorded-hosts';
import { refusal, refusalOf } from './refusal';
import { removeCgroup } from './remove';
import { makeTree, type Tree } from './tree';

// Plain files stand in for cgroupfs: what the kernel would do on its own (FREEZING becoming FROZEN) does not happen here, which is
// how the timeouts are reached. The real thing is in on-host.test.ts.

let tree: Tree;
afterEach(() => {
  tree.remove();
});

const locate = (host: RecordedHost): Cgroup =>
  locateCgroup({ cgroupsPath: '/x', id: 'x', hierarchies: recordedHierarchies(host, tree.root) });

describe('freezer', () => {
  test.each<[string, string, string | undefined, boolean]>([
    ['THAWED\n', '0\n', 'thawed', false],
    ['FREEZING\n', '1\n', 'freezing', false],
    ['FROZEN\n', '1\n', 'frozen', true],
    // Frozen from further up: the container's processes stand still, but it is not the container that is paused.
    ['FROZEN\n', '0\n', 'frozen', false],
  ])('v1: freezer.state %j, self_freezing %j', (state, self, expected, frozen) => {
    tree = makeTree({ 'freezer/x/freezer.state': state, 'freezer/x/freezer.self_freezing': self });
    expect([readFreezerState(locate('v1')), isFrozen(locate('v1'))]).toEqual([expected, frozen]);
  });

  test.each<[string, string, string, boolean]>([
    ['populated 1\nfrozen 0\n', '0\n', 'thawed', false],
    ['populated 1\nfrozen 0\n', '1\n', 'freezing', false],
    ['populated 1\nfrozen 1\n', '1\n', 'frozen', true],
    ['populated 1\nfrozen 1\n', '0\n', 'frozen', false],
  ])('v2: cgroup.events %j, cgroup.freeze %j', (events, asked, expected, frozen) => {
    tree = makeTree({ 'x/cgroup.events': events, 'x/cgroup.freeze': asked });
    expect([readFreezerState(locate('v2')), isFrozen(locate('v2'))]).toEqual([expected, frozen]);
  });

  test('a cgroup that is gone has no state', () => {
    tree = makeTree({});
    expect([readFreezerState(locate('v1')), isFrozen(locate('v1')), readFreezerState(locate('v2'))]).toEqual([
      undefined,
      false,
      undefined,
    ]);
  });

  test('freeze and thaw write the words of their version', async () => {
    tree = makeTree({
      'freezer/x/freezer.state': '',
      'unified/x/cgroup.freeze': 'untouched',
      'x/cgroup.events': 'frozen 1\n',
      'x/cgroup.freeze': '',
    });
    await freeze(locate('hybrid'));
    expect([tree.read('freezer/x/freezer.state'), tree.read('unified/x/cgroup.freeze')]).toEqual([
      'FROZEN',
      'untouched',
    ]);
    thaw(locate('hybrid'));
    expect(tree.read('freezer/x/freezer.state')).toBe('THAWED');
    await freeze(locate('v2'));
    expect(tree.read('x/cgroup.freeze')).toBe('1');
    thaw(locate('v2'));
    expect(tree.read('x/cgroup.freeze')).toBe('0');
  });

  test('a freeze that does not come about ends in time, thawed', async () => {
    tree = makeTree({ 'x/cgroup.events': 'frozen 0\n', 'x/cgroup.freeze': '0' });
    const start = performance.now();
    const error = await refusalOf(freeze(locate('v2'), { timeoutMs: 30 }));
    expect(error).toMatchObject({ code: 'TIMEOUT', details: { path: `${tree.root}/x` } });
    expect(performance.now() - start).toBeGreaterThanOrEqual(29);
    expect(tree.read('x/cgroup.freeze')).toBe('0');
  });

  test('a cgroup that is gone cannot be frozen', async () => {
    tree = makeTree({});
    expect(await refusalOf(freeze(locate('v1')))).toMatchObject({
      code: 'SYSCALL_FAILED',
      details: { errno: 'ENOENT' },
    });
  });

  test('a host without the freezer controller is HOST_UNSUPPORTED', async () => {
    tree = makeTree({});
    const cgroup = locate('v1');
    const without = {
      ...cgroup,
      directories: cgroup.directories.filter(({ controllers }) => !controllers.includes('freezer')),
    };
    expect((await refusalOf(freeze(without))).code).toBe('HOST_UNSUPPORTED');
    expect(refusal(() => thaw(without)).code).toBe('HOST_UNSUPPORTED');
    expect(readFreezerState(without)).toBeUndefined();
  });
});

describe('processes', () => {
  test('are listed from the freezer’s hierarchy, children included, each once', () => {
    tree = makeTree({
      'freezer/x/cgroup.procs': '30\n4\n0\n',
      'freezer/x/sub/cgroup.procs': '7\n',
      'freezer/x/sub/deeper/cgroup.procs': '4\n5\n',
      'memory/x/cgroup.procs': '99\n',
    });
    expect(listPids(locate('hybrid'))).toEqual([4, 5, 7, 30]);
  });

  test('none in a cgroup that is gone: there is nothing to kill', async () => {
    tree = makeTree({});
    expect(listPids(locate('v2'))).toEqual([]);
    await expect(killAll(locate('v2'))).resolves.toBeUndefined();
  });

  test('v2: cgroup.kill, and TIMEOUT naming who is left', async () => {
    // Beyond pid_max, so that no process of this host has it.
    tree = makeTree({ 'x/cgroup.procs': '4194400\n', 'x/cgroup.kill': '' });
    const error = await refusalOf(killAll(locate('v2'), { timeoutMs: 20 }));
    expect(error.code).toBe('TIMEOUT');
    expect(error.message).toContain('4194400');
    expect(tree.read('x/cgroup.kill')).toBe('1');
  });

  test('silt neither kills nor freezes itself', async () => {
    tree = makeTree({
      'x/cgroup.procs': `${process.pid}\n`,
      'x/cgroup.kill': 'untouched',
      'freezer/x/cgroup.procs': `${process.pid}\n`,
      'freezer/x/freezer.state': 'THAWED',
    });
    expect((await refusalOf(killAll(locate('v2')))).code).toBe('INTERNAL');
    expect(tree.read('x/cgroup.kill')).toBe('untouched');
    expect(
      (await refusalOf(signalAll(locate('v1'), 'SIGTERM', () => Promise.reject(new Error('asked to freeze silt')))))
        .code,
    ).toBe('INTERNAL');
    expect(tree.read('freezer/x/freezer.state')).toBe('THAWED');
  });

  test('what cannot be removed is named with who holds it', async () => {
    tree = makeTree({ 'x/cgroup.procs': '12\n' });
    const error = await refusalOf(removeCgroup(locate('v2'), { timeoutMs: 5 }));
    expect(error).toMatchObject({ code: 'SYSCALL_FAILED', details: { errno: 'EBUSY', path: `${tree.root}/x` } });
    expect(error.message).toContain('processes 12');
  });
});
