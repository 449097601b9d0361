import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative, openInterpreter } from '../../native';
import { Kernel, tryLock } from '../../syscall';
import { recordProcess } from '../state/state';
import { LayerCache, type LayerNotes, release } from './cache';

const native = loadNative();
const kernel = new Kernel(native, openInterpreter(undefined, native));
const here = { sandbox: recordProcess(process.pid), container: 'c' };
let directory: string;
let cache: LayerCache;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'silt-layers-'));
  cache = new LayerCache(kernel, join(directory, 'layers'));
  cache.open();
});

afterEach(() => rmSync(directory, { recursive: true }));

const notes = (bytes: number): LayerNotes => ({ bytes, hasRoot: false });
/** Makes a layer that was used so many seconds ago. */
async function make(key: string, bytes: number, secondsAgo = 0): Promise<void> {
  await cache.make(key, (root) => {
    writeFileSync(join(root, 'file'), key);
    return Promise.resolve(notes(bytes));
  });
  const then = Date.now() / 1000 - secondsAgo;
  utimesSync(join(cache.directory, key, 'users'), then, then);
}

const names = (): string[] => readdirSync(cache.directory).sort();

describe('a layer', () => {
  test('is found under its key alone, with what is known of it', async () => {
    expect(cache.use('a', here)).toBeUndefined();
    await make('a', 5);
    expect(cache.use('a', here)).toMatchObject({ bytes: 5, hasRoot: false, path: join(cache.directory, 'a', 'fs') });
    expect(cache.use('b', here)).toBeUndefined();
  });

  test('is made once, however many want it at once', async () => {
    let times = 0;
    const fill = async (root: string): Promise<LayerNotes> => {
      times++;
      await new Promise((resolve) => setTimeout(resolve, 50));
      writeFileSync(join(root, 'file'), '');
      return notes(1);
    };
    await Promise.all([1, 2, 3, 4].map(() => cache.make('a', fill)));
    expect([times, names()]).toEqual([1, ['a']]);
  });

  test('of which the making failed is not there, and the next try makes it', async () => {
    const failing = cache.make('a', (root) => {
      writeFileSync(join(root, 'half'), '');
      return Promise.reject(new Error('no more room'));
    });
    await expect(failing).rejects.toThrow('no more room');
    expect([cache.use('a', here), names()]).toEqual([undefined, []]);
    await make('a', 1);
    expect(readdirSync(join(cache.directory, 'a', 'fs'))).toEqual(['file']);
  });

  test('that a killed process has left half made is not served, and nothing of it is in the one made after it', async () => {
    const half = join(cache.directory, 'a.new');
    mkdirSync(join(half, 'fs'), { recursive: true });
    writeFileSync(join(half, 'fs', 'half'), '');
    writeFileSync(join(half, 'layer.json'), '{"bytes": 1, "hasRoot": true}');
    expect(cache.use('a', here)).toBeUndefined();
    await make('a', 1);
    expect(readdirSync(join(cache.directory, 'a', 'fs'))).toEqual(['file']);
    expect(names()).toEqual(['a']);
  });

  test('that cannot be shared is noted, and not made', async () => {
    cache.markToBeCopied('a');
    const fill = jest.fn();
    await cache.make('a', fill);
    expect([cache.isToBeCopied('a'), cache.isToBeCopied('b'), fill.mock.calls]).toEqual([true, false, []]);
  });
});

describe('a cache that is too large', () => {
  test('drops what was used longest ago, and no more than it has to', async () => {
    await make('middle', 10, 200);
    await make('newest', 10, 100);
    await make('oldest', 10, 300);
    await cache.trim(30);
    expect(names()).toEqual(['middle', 'newest', 'oldest']);
    await cache.trim(20);
    expect(names()).toEqual(['middle', 'newest']);
    await cache.trim(19);
    expect(names()).toEqual(['newest']);
    await cache.trim(0);
    expect(names()).toEqual([]);
  });

  test('counts a use by a container that has ended as a use', async () => {
    await make('a', 10, 200);
    await make('b', 10, 100);
    release(cache.use('a', here)!.use);
    await cache.trim(10);
    expect(names()).toEqual(['a']);
  });

  test('never drops what a container lies on, not even for one that nobody uses', async () => {
    await make('used', 100, 300);
    await make('unused', 10, 100);
    const used = cache.use('used', here)!;
    utimesSync(join(cache.directory, 'used', 'users'), 1, 1);
    expect(cache.bytesInUse()).toBe(100);
    await cache.trim(50);
    expect(names()).toEqual(['used']);
    expect(readFileSync(join(used.path, 'file'), 'utf8')).toBe('used');
    release(used.use);
    expect(cache.bytesInUse()).toBe(0);
    await cache.trim(50);
    expect(names()).toEqual([]);
  });

  test('does not count a container whose sandbox is gone, though another process has its pid', async () => {
    await make('a', 10);
    cache.use('a', { sandbox: { pid: process.pid, startTime: '1' }, container: 'c' });
    expect(cache.bytesInUse()).toBe(0);
    await cache.trim(0);
    expect(names()).toEqual([]);
  });

  test('is cleared of what dead processes have left, but not of what is being made', async () => {
    for (const name of ['dead.new', 'alive.new', 'x.1-2.old']) mkdirSync(join(cache.directory, name, 'fs'), { recursive: true }); // prettier-ignore
    const fd = openSync(join(cache.directory, 'alive.new'), 'r');
    expect(tryLock(kernel, fd)).toBe(true);
    await cache.trim(1);
    expect(names()).toEqual(['alive.new']);
    closeSync(fd);
    await cache.trim(1);
    expect(names()).toEqual([]);
  });

  test('gives up a layer that another one finds at that moment: whoever uses it has it whole, or makes it anew', async () => {
    for (let round = 0; round < 50; round++) {
      await make('a', 10);
      const trimmed = cache.trim(0);
      const used = cache.use('a', { ...here, container: `${round}` });
      await trimmed;
      expect(existsSync(join(cache.directory, 'a', 'fs', 'file'))).toBe(used !== undefined);
      if (used) release(used.use);
      await cache.trim(0);
    }
  });
});
