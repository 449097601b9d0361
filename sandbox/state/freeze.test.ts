import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { refusalOf } from '../../errors/testing/refusal';
import { loadNative, openInterpreter } from '../../native';
import { C, Kernel, ProgramBuilder } from '../../syscall';
import { bundleForTest } from '../../tools/bundle-for-test';
import { type Cgroup, signalAll } from '../cgroup';
import { makeTree, type Tree } from '../cgroup/tree';
import { FreezeRecord } from './freeze';

// Plain files stand in for cgroupfs: they keep the last word that was written, and say at once that everything is frozen.

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), interpreter);
afterAll(() => closeSync(interpreter));

const bundle = bundleForTest(
  ...['freeze.ts', '../../native/index.ts', '../../syscall/index.ts'].map((path) => join(__dirname, path)),
);
afterAll(() => bundle.remove());

const KINDS = {
  v2: {
    files: { 'cg/cgroup.events': 'populated 1\nfrozen 1\n', 'cg/cgroup.freeze': '0' },
    controllers: ['cpu', 'memory'],
    file: 'cg/cgroup.freeze',
    frozen: '1',
    thawed: '0',
  },
  // Both words have six letters: the lease's program does not cut the file off, as no cgroup file needs that.
  v1: {
    files: { 'cg/freezer.state': 'THAWED' },
    controllers: ['freezer'],
    file: 'cg/freezer.state',
    frozen: 'FROZEN',
    thawed: 'THAWED',
  },
} as const;

let tree: Tree;
/** Leases that are still held: a test that fails must not leave the processes that hold them. */
const held = new Set<() => Promise<void>>();
afterEach(async () => {
  for (const release of held) await release();
  held.clear();
  tree.remove();
});

describe.each(['v2', 'v1'] as const)('on a %s host', (mode) => {
  const kind = KINDS[mode];
  let cgroup: Cgroup;
  beforeEach(() => {
    tree = makeTree(kind.files);
    mkdirSync(join(tree.root, 'state'));
    const path = join(tree.root, 'cg');
    const version = mode === 'v2' ? 2 : 1;
    cgroup = { mode, directories: [{ version, mountPoint: tree.root, controllers: kind.controllers, path }] };
  });

  const record = (): FreezeRecord => new FreezeRecord(kernel, cgroup, join(tree.root, 'state'));
  /** Takes a lease; gives what releases it. */
  const lease = async (): Promise<() => Promise<void>> => {
    const release = await record().lease();
    held.add(release);
    return async () => {
      held.delete(release);
      await release();
    };
  };
  const isFrozen = (): boolean => {
    const word = tree.read(kind.file);
    expect([kind.frozen, kind.thawed]).toContain(word);
    return word === kind.frozen;
  };

  test('a container is frozen from pause to resume', async () => {
    const freezer = record();
    expect([freezer.paused, isFrozen()]).toEqual([false, false]);
    await freezer.pause();
    expect([freezer.paused, isFrozen()]).toEqual([true, true]);
    await freezer.resume();
    expect([freezer.paused, isFrozen()]).toEqual([false, false]);
  });

  test('whether it is paused is known to everybody who looks', async () => {
    await record().pause();
    expect(record().paused).toBe(true);
    await record().resume();
    expect(record().paused).toBe(false);
  });

  test('a lease freezes it until it is released, and is no pause', async () => {
    const freezer = record();
    const release = await lease();
    expect([freezer.paused, isFrozen()]).toEqual([false, true]);
    await release();
    expect([freezer.paused, isFrozen()]).toEqual([false, false]);
  });

  test('it thaws with the last of several leases, whichever that is', async () => {
    const [first, second] = [await lease(), await lease()];
    await first();
    expect(isFrozen()).toBe(true);
    const third = await lease();
    await second();
    expect(isFrozen()).toBe(true);
    await third();
    expect(isFrozen()).toBe(false);
  });

  test('paused before or during a lease, it stays so after it', async () => {
    const freezer = record();
    await freezer.pause();
    const before = await lease();
    await before();
    expect([freezer.paused, isFrozen()]).toEqual([true, true]);
    await freezer.resume();
    const during = await lease();
    await freezer.pause();
    await during();
    expect([freezer.paused, isFrozen()]).toEqual([true, true]);
  });

  test('resumed during a lease, it stays frozen until its end', async () => {
    const freezer = record();
    await freezer.pause();
    const release = await lease();
    await freezer.resume();
    expect([freezer.paused, isFrozen()]).toEqual([false, true]);
    await release();
    expect(isFrozen()).toBe(false);
  });

  // CRIU thaws what a checkpoint has a lease on, for its own purposes, and freezes it again at its end.
  test('a further lease does not freeze what somebody with a lease has thawed, and keeps it frozen afterwards', async () => {
    const first = await lease();
    tree.write(kind.file, kind.thawed);
    const second = await lease();
    expect(isFrozen()).toBe(false);
    tree.write(kind.file, kind.frozen);
    await first();
    expect(isFrozen()).toBe(true);
    await second();
    expect(isFrozen()).toBe(false);
  });

  test('a further lease freezes it all the same for who has thawed it himself', async () => {
    const first = await lease();
    tree.write(kind.file, kind.thawed);
    const second = await record().lease(undefined, { always: true });
    expect(isFrozen()).toBe(true);
    await first();
    expect(isFrozen()).toBe(true);
    await second();
    expect(isFrozen()).toBe(false);
  });

  test('many changes at once leave it as the last of them wanted', async () => {
    const leases = Array.from({ length: 4 }, async () => (await lease())());
    await Promise.all([record().pause(), ...leases, record().pause()]);
    expect([record().paused, isFrozen()]).toEqual([true, true]);
    await record().resume();
    expect(isFrozen()).toBe(false);
  });

  describe('a signal to all', () => {
    /** Whether it was frozen while the signals were sent, and is after that; they have arrived then. */
    async function signal(): Promise<[boolean | undefined, boolean]> {
      const child = spawn('/bin/sleep', ['600']);
      const exit = once(child, 'exit');
      tree.write('cg/cgroup.procs', `${child.pid}\n`);
      let within: boolean | undefined;
      await signalAll(cgroup, 'SIGUSR1', async (timeoutMs) => {
        try {
          return await record().keepFrozen(timeoutMs);
        } finally {
          within = isFrozen();
        }
      });
      expect((await exit)[1]).toBe('SIGUSR1');
      return [within, isFrozen()];
    }

    test('finds it frozen, and thaws it', async () => {
      expect(await signal()).toEqual([true, false]);
    });

    test('thaws it for nobody else who wants it frozen', async () => {
      const release = await lease();
      expect(await signal()).toEqual([true, true]);
      await release();
      expect(isFrozen()).toBe(false);
      await record().pause();
      expect(await signal()).toEqual([true, true]);
    });

    test('leaves one frozen that somebody without a record has frozen', async () => {
      tree.write(kind.file, kind.frozen);
      expect(await signal()).toEqual([true, true]);
    });

    // CRIU thaws what a checkpoint has a lease on, for its own purposes.
    test('does not freeze what somebody with a lease has thawed', async () => {
      const release = await lease();
      tree.write(kind.file, kind.thawed);
      expect(await signal()).toEqual([false, false]);
      await release();
    });

    test('is sent when the record is gone, and does not bring it back', async () => {
      rmSync(join(tree.root, 'state'), { recursive: true });
      expect(await signal()).toEqual([false, false]);
      expect(existsSync(join(tree.root, 'state'))).toBe(false);
    });

    test('is sent when somebody else has the record’s lock', async () => {
      await lease().then((release) => release());
      const lock = openSync(join(tree.root, 'state/freeze.lock'), 'r');
      const p = new ProgramBuilder();
      p.step('locking').call('flock', [lock, C.LOCK_EX]);
      kernel.run(p.build());
      expect(await signal()).toEqual([false, false]);
      closeSync(lock);
    });
  });

  test('nothing stays open or runs on after a release', async () => {
    const before = readdirSync('/proc/self/fd');
    const release = await lease();
    await release();
    expect(readdirSync('/proc/self/fd').filter((fd) => !before.includes(fd))).toEqual([]);
    expect(existsSync(join(tree.root, 'state/paused'))).toBe(false);
  });

  describe('with a lease of another process', () => {
    /** Starts a process that takes a lease and keeps it. */
    async function holder(): Promise<ChildProcess> {
      const program = `
        const { FreezeRecord, Kernel, loadNative, openInterpreter } = require(${JSON.stringify(bundle.file)});
        const native = loadNative();
        const kernel = new Kernel(native, openInterpreter(undefined, native));
        const record = new FreezeRecord(kernel, ${JSON.stringify(cgroup)}, ${JSON.stringify(join(tree.root, 'state'))});
        record.lease().then(() => { process.stdout.write('held'); setInterval(() => undefined, 1000); });
      `;
      const env = { ...process.env, SILT_NATIVE_DIR: join(__dirname, '../../build/native') };
      const child = spawn(process.execPath, ['-e', program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      const [said] = (await once(child.stdout, 'data')) as [Buffer];
      expect(said.toString()).toBe('held');
      return child;
    }

    async function kill(child: ChildProcess): Promise<void> {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    }

    async function untilThawed(): Promise<void> {
      for (let round = 0; round < 200 && isFrozen(); round++) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(isFrozen()).toBe(false);
    }

    test('that is killed, it thaws', async () => {
      const child = await holder();
      expect(isFrozen()).toBe(true);
      await kill(child);
      await untilThawed();
    });

    test('that is killed, it stays frozen while it is paused or another lease is held', async () => {
      const child = await holder();
      const release = await lease();
      await record().pause();
      await kill(child);
      // The dead one's program has come to its end once it no longer holds its lock: only ours is left then.
      await release();
      expect([record().paused, isFrozen()]).toEqual([true, true]);
      await record().resume();
      await untilThawed();
    });
  });
});

describe('a freeze that fails', () => {
  beforeEach(() => {
    tree = makeTree({ 'state/leases': '' });
  });
  const gone = (): FreezeRecord => {
    const directory = { version: 2, mountPoint: tree.root, controllers: [], path: join(tree.root, 'gone') } as const;
    return new FreezeRecord(kernel, { mode: 'v2', directories: [directory] }, join(tree.root, 'state'));
  };

  test('leaves no pause', async () => {
    const freezer = gone();
    expect(await refusalOf(freezer.pause())).toMatchObject({ code: 'SYSCALL_FAILED', details: { errno: 'ENOENT' } });
    expect(freezer.paused).toBe(false);
    // Nor the lock: the next one gets its turn.
    expect((await refusalOf(freezer.pause())).code).toBe('SYSCALL_FAILED');
  });

  test('leaves no lease', async () => {
    const before = readdirSync('/proc/self/fd');
    expect(await refusalOf(gone().lease())).toMatchObject({ code: 'SYSCALL_FAILED', details: { errno: 'ENOENT' } });
    expect(readdirSync('/proc/self/fd').filter((fd) => !before.includes(fd))).toEqual([]);
  });

  test('because nobody holds the lease is an error: the container would never thaw', async () => {
    const files = { 'state/leases': '', 'cg/cgroup.events': 'frozen 1\n', 'cg/cgroup.freeze': '0' };
    tree.remove();
    tree = makeTree(files);
    // A program that ends without a word stands in for an interpreter that is killed.
    const silent = openSync('/bin/true', 'r');
    try {
      const directory = { version: 2, mountPoint: tree.root, controllers: [], path: join(tree.root, 'cg') } as const;
      const freezer = new FreezeRecord(
        new Kernel(loadNative(), silent),
        { mode: 'v2', directories: [directory] },
        join(tree.root, 'state'),
      );
      expect((await refusalOf(freezer.lease())).code).toBe('INTERNAL');
      expect(tree.read('cg/cgroup.freeze')).toBe('0');
    } finally {
      closeSync(silent);
    }
  });
});
