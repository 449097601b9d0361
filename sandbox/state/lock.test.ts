import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusalOf } from '../../errors/testing/refusal';
import { loadNative, openInterpreter } from '../../native';
import { Kernel } from '../../syscall';
import { bundleForTest } from '../../tools/bundle-for-test';
import { lockPod, waitingForHook } from './lock';
import { HOOK_WAIT, StateDirectory } from './state';

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), interpreter);
afterAll(() => closeSync(interpreter));

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'silt-lock-'));
});
afterEach(() => rmSync(root, { recursive: true }));

test('who waits for the lock of a pod leaves the event loop to its holder in the same process', async () => {
  const state = new StateDirectory(root);
  const order: string[] = [];
  const first = (await lockPod({ kernel, state }, 'pod', true))!;
  const second = lockPod({ kernel, state }, 'pod').then((unlock) => {
    order.push('second');
    return unlock!;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  order.push('first');
  first();
  (await second)();
  expect(order).toEqual(['first', 'second']);
});

test('a pod that is removed meanwhile is there no more', async () => {
  const state = new StateDirectory(root);
  expect(await lockPod({ kernel, state }, 'pod')).toBeUndefined();
  const first = (await lockPod({ kernel, state }, 'pod', true))!;
  const second = lockPod({ kernel, state }, 'pod');
  rmSync(state.podPath('pod'), { recursive: true });
  first();
  expect(await second).toBeUndefined();
});

describe('with another process', () => {
  const bundle = bundleForTest(
    ...['lock.ts', 'state.ts', '../../native/index.ts', '../../syscall/index.ts'].map((path) => join(__dirname, path)),
  );
  afterAll(() => bundle.remove());

  /** A process below a shell, as the command of a hook is: it takes the lock, says what came of it, and lives on. */
  const run = (): ChildProcess => {
    const program = `
      const { lockPod, StateDirectory, Kernel, loadNative, openInterpreter } = require(${JSON.stringify(bundle.file)});
      const native = loadNative();
      const kernel = new Kernel(native, openInterpreter(undefined, native));
      setInterval(() => undefined, 1000);
      lockPod({ kernel, state: new StateDirectory(${JSON.stringify(root)}) }, 'pod', true)
        .then(() => console.log('locked', process.pid), (error) => console.log(error.code, error.message));
    `;
    const env = { ...process.env, SILT_NATIVE_DIR: join(__dirname, '../../build/native'), PROGRAM: program };
    const words = ['-c', '"$0" -e "$PROGRAM" & trap "kill $!" TERM; wait', process.execPath];
    const child = spawn('/bin/sh', words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    children.add(child);
    return child;
  };
  const children = new Set<ChildProcess>();
  afterEach(async () => {
    for (const child of children) {
      const closed = once(child, 'close');
      child.kill();
      await closed;
    }
    children.clear();
  });
  const output = async (child: ChildProcess): Promise<string> => {
    const [said] = (await once(child.stdout!, 'data')) as [Buffer];
    return said.toString();
  };

  test('who is run by a hook that the holder waits for is told so at once', async () => {
    const state = new StateDirectory(root);
    const unlock = (await lockPod({ kernel, state }, 'pod', true))!;
    const said = await waitingForHook(state, 'pod', () => output(run()));
    expect(existsSync(join(state.podPath('pod'), HOOK_WAIT))).toBe(false);
    unlock();
    expect(said).toContain(`POD_BUSY pod pod is held by process ${process.pid} (`);
    expect(said).toContain('which waits for this command to end');
  });

  test('who only runs below the holder, as in a container of the shim’s, waits for its turn', async () => {
    const state = new StateDirectory(root);
    const unlock = (await lockPod({ kernel, state }, 'pod', true))!;
    // What one who was killed in the middle of a hook has left.
    writeFileSync(join(state.podPath('pod'), HOOK_WAIT), '1');
    const child = run();
    const said = output(child);
    const looked = new Promise((resolve) => setTimeout(resolve, 1500, 'waits'));
    expect(await Promise.race([said, looked])).toBe('waits');
    unlock();
    expect(await said).toMatch(/^locked /);
  });

  test('who waits for long is told for whom, and does not wait for ever', async () => {
    const [, holder] = (await output(run())).trim().split(' ');
    const state = new StateDirectory(root);
    const warnings: string[] = [];
    const patience = { lookMs: 10, silentMs: 50, mostMs: 300 };
    const refusal = await refusalOf(lockPod({ kernel, state, patience, warn: (text) => warnings.push(text) }, 'pod'));
    expect(refusal.code).toBe('POD_BUSY');
    expect(refusal.message).toContain(`held by process ${holder} (${process.execPath} -e`);
    expect(warnings).toEqual([expect.stringContaining(`waiting for pod pod, which process ${holder} (`)]);
  });

  test('this very process is named like any other', async () => {
    const state = new StateDirectory(root);
    const unlock = (await lockPod({ kernel, state }, 'pod', true))!;
    const patience = { lookMs: 10, silentMs: 20, mostMs: 50 };
    const refusal = await refusalOf(lockPod({ kernel, state, patience }, 'pod'));
    unlock();
    expect(refusal.message).toContain(`held by process ${process.pid} (`);
  });
});
