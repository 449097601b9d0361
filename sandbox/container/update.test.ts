import { closeSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusalOf } from '../../errors/testing/refusal';
import { loadNative, openInterpreter } from '../../native';
import { Kernel } from '../../syscall';
import { lockPod } from '../state/lock';
import { StateDirectory } from '../state/state';
import type { Workshop } from '../workshop';
import { type Updated, updateSchemata } from './update';

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), interpreter);
afterAll(() => closeSync(interpreter));

describe('the schemata of a container', () => {
  let root: string;
  let workshop: Workshop;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'silt-update-'));
    workshop = { kernel, state: new StateDirectory(root) } as unknown as Workshop;
    mkdirSync(join(root, 'pod'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const container = (resctrl?: Updated['cgroup']['resctrl']): Updated => ({
    id: 'web',
    pod: 'pod',
    bundle: '/bundle',
    cgroup: { mode: 'v2', directories: [], ...(resctrl && { resctrl }) },
  });

  test('are written to its class, under the lock of its pod', async () => {
    writeFileSync(join(root, 'schemata'), '');
    const unlock = await lockPod(workshop, 'pod');
    const update = updateSchemata(workshop, container({ path: root, own: true }), {
      l3CacheSchema: 'L3:0=f\nMB:0=9',
      memBwSchema: 'MB:0=20',
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(readFileSync(join(root, 'schemata'), 'utf8')).toBe('');
    unlock!();
    await update;
    expect(readFileSync(join(root, 'schemata'), 'utf8')).toBe('L3:0=f\nMB:0=20\n');
  });

  test('are refused where the class is not its own', async () => {
    writeFileSync(join(root, 'schemata'), 'L3:0=7ff\n');
    const update = updateSchemata(workshop, container({ path: root, own: false }), { l3CacheSchema: 'L3:0=f' });
    const { code, message } = await refusalOf(update);
    expect([code, message]).toEqual(['WRONG_STATE', expect.stringContaining(`${root} is not its alone`)]);
    expect(readFileSync(join(root, 'schemata'), 'utf8')).toBe('L3:0=7ff\n');
  });

  test('are refused where it has no class', async () => {
    const { code, message } = await refusalOf(updateSchemata(workshop, container(), { l3CacheSchema: 'L3:0=f' }));
    expect([code, message]).toEqual(['WRONG_STATE', expect.stringContaining('linux.intelRdt')]);
  });
});
