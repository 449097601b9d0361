import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, openInterpreter } from '../../native';
import { Kernel } from '../../syscall';
import { lockPod } from './lock';
import { StateDirectory } from './state';

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
  const first = (await lockPod(kernel, state, 'pod', true))!;
  const second = lockPod(kernel, state, 'pod').then((unlock) => {
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
  expect(await lockPod(kernel, state, 'pod')).toBeUndefined();
  const first = (await lockPod(kernel, state, 'pod', true))!;
  const second = lockPod(kernel, state, 'pod');
  rmSync(state.podPath('pod'), { recursive: true });
  first();
  expect(await second).toBeUndefined();
});
