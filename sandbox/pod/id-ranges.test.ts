import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lutimesSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { refusal } from '../../errors/testing/refusal';
import type { IdMaps, IdRange } from '../../gofer';
import { bundleForTest } from '../../tools/bundle-for-test';
import { parseConfig } from '../config/config';
import { IdRanges, podIdRanges } from './id-ranges';

let directory: string;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'silt-ids-')), 'id-ranges');
});
afterEach(() => rmSync(join(directory, '..'), { recursive: true }));

const ranges = (count = 3): IdRanges => new IdRanges(directory, 1_000_000, count);

/** Claims ranges in a thread of its own, one after the other, and gives their numbers. */
function claimInThread(file: string, count: number): Promise<number[]> {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { IdRanges } = require(workerData.file);
    const ranges = new IdRanges(workerData.directory, 1000000, 1000);
    parentPort.postMessage(Array.from({ length: workerData.count }, () => ranges.claim('/pod').index));
  `;
  const worker = new Worker(program, { eval: true, workerData: { file, directory, count } });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

describe('claiming', () => {
  test('gives the lowest free range of 65536 ids', () => {
    const all = ranges();
    const [first, second] = [all.claim('/pod'), all.claim('/pod')];
    const range = { containerID: 0, hostID: 1_000_000, size: 65536 };
    expect(first).toEqual({ index: 0, idMaps: { uids: [range], gids: [range] } });
    expect(second.index).toBe(1);
    expect(second.idMaps.uids).toEqual([{ ...range, hostID: 1_065_536 }]);
  });

  test('sees what others have claimed', () => {
    expect([ranges().claim('/pod').index, ranges().claim('/pod').index, ranges().claim('/pod').index]).toEqual([
      0, 1, 2,
    ]);
  });

  test('gives a range again once it has been released', () => {
    const all = ranges();
    for (let i = 0; i < 3; i++) all.claim('/pod');
    all.release(1, '/pod');
    expect([all.claim('/pod').index, readdirSync(directory).sort()]).toEqual([1, ['0', '1', '2']]);
  });

  test('is refused when all are taken', () => {
    const all = ranges(2);
    all.claim('/pod');
    all.claim('/pod');
    expect(refusal(() => all.claim('/pod'))).toEqual({
      code: 'NO_SPACE',
      message: `all 2 id ranges for user namespaces are taken (${directory}); raise userns-ranges`,
      details: {},
    });
  });

  test('takes back what is nobody’s any more when all are taken', () => {
    const all = ranges(3);
    for (const owner of [join(directory, 'gone'), directory, join(directory, 'soon')]) all.claim(owner);
    for (const name of ['0', '1']) lutimesSync(join(directory, name), 1, 1);
    expect(all.claim(directory).index).toBe(0);
    expect(refusal(() => all.claim(directory)).code).toBe('NO_SPACE');
  });

  test('by many at once gives each a range of its own', async () => {
    const bundle = bundleForTest(join(__dirname, 'id-ranges.ts'));
    try {
      const claims = await Promise.all(Array.from({ length: 4 }, () => claimInThread(bundle.file, 50)));
      expect(claims.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    } finally {
      bundle.remove();
    }
  });

  test('fails when the directory cannot be used', () => {
    writeFileSync(directory, '');
    expect(() => ranges().claim('/pod')).toThrow('EEXIST');
  });
});

describe('sharing', () => {
  test('keeps a range until the last who has it is gone', () => {
    const all = ranges();
    const { idMaps, index } = all.claim('/pod');
    expect([all.share(idMaps, '/beside'), all.share(idMaps, '/too')]).toEqual(['0.1', '0.2']);
    all.release(index, '/pod');
    expect(all.claim('/new').index).toBe(1);
    all.releaseAll('/beside');
    expect(all.claim('/newer').index).toBe(2);
    all.release('0.2', '/too');
    expect(all.claim('/newest').index).toBe(0);
  });

  test('is of what a pod has, and whole', () => {
    const all = ranges();
    const { idMaps } = all.claim('/pod');
    const [range] = idMaps.uids as [IdRange];
    const other = (parts: Partial<IdRange>): IdMaps => ({ ...idMaps, gids: [{ ...range, ...parts }] });
    const wrong = [other({ size: 1 }), other({ containerID: 1 }), other({ hostID: 2 }), { uids: [], gids: [] }];
    for (const one of wrong) expect(all.share(one, '/beside')).toBeUndefined();
    const [free, outside] = [1, 3].map((n): IdMaps => {
      const ids = [{ ...range, hostID: range.hostID + n * 65536 }];
      return { uids: ids, gids: ids };
    });
    for (const one of [free!, outside!]) expect(all.share(one, '/beside')).toBeUndefined();
    all.releaseAll('/pod');
    expect(all.share(idMaps, '/beside')).toBeUndefined();
    expect(existsSync(directory)).toBe(false);
  });
});

describe('releasing', () => {
  test('what nobody has is no error', () => {
    ranges().release(0, '/pod');
    const all = ranges();
    all.claim('/pod');
    all.release(2, '/pod');
    expect(readdirSync(directory)).toEqual(['0']);
  });

  test('what is another’s by now is left to that one', () => {
    const all = ranges();
    const { index } = all.claim('/other');
    all.release(index, '/pod');
    all.releaseAll('/pod');
    expect(readdirSync(directory)).toEqual(['0']);
  });

  test('all that a pod has needs no number', () => {
    const all = ranges();
    for (const pod of ['/pod', '/other', '/pod']) all.claim(pod);
    all.releaseAll('/pod');
    expect(readdirSync(directory)).toEqual(['1']);
  });

  const isRoot = process.getuid!() === 0;
  const asRoot = isRoot ? test : test.skip;
  asRoot(`but not what processes run with, state or none${isRoot ? '' : ' [skipped: needs root]'}`, async () => {
    const all = new IdRanges(directory, 700_000_000, 2);
    for (let i = 0; i < 2; i++) all.claim(join(directory, 'gone'));
    const sleeper = spawn('sleep', ['100'], { uid: 700_000_005, stdio: 'ignore' });
    await once(sleeper, 'spawn');
    all.releaseForgotten(-1);
    expect(readdirSync(directory)).toEqual(['0']);
    sleeper.kill('SIGKILL');
    await once(sleeper, 'exit');
    all.releaseForgotten(-1);
    expect(existsSync(directory)).toBe(false);
  });

  test('what was claimed a while ago for pods that are not there', () => {
    const all = ranges();
    all.claim(join(directory, 'gone'));
    all.claim(directory);
    all.releaseForgotten(60_000);
    expect(readdirSync(directory).sort()).toEqual(['0', '1']);
    all.releaseForgotten(-1);
    expect(readdirSync(directory)).toEqual(['1']);
  });
});

test('a pod’s ranges are those of the configuration, below silt’s root', () => {
  const root = join(directory, '..');
  const config = parseConfig('userns-first-id = 200000\nuserns-ranges = 1', 'config.toml');
  const all = podIdRanges(root, config);
  expect(all.claim('/pod').idMaps.gids).toEqual([{ containerID: 0, hostID: 200_000, size: 65536 }]);
  expect(readdirSync(join(root, 'id-ranges'))).toEqual(['0']);
  expect(refusal(() => all.claim('/pod')).code).toBe('NO_SPACE');
});
