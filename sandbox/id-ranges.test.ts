import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { refusal } from '../errors/testing/refusal';
import { bundleForTest } from '../tools/bundle-for-test';
import { parseConfig } from './config';
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
    parentPort.postMessage(Array.from({ length: workerData.count }, () => ranges.claim().index));
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
    const [first, second] = [all.claim(), all.claim()];
    const range = { containerID: 0, hostID: 1_000_000, size: 65536 };
    expect(first).toEqual({ index: 0, idMaps: { uids: [range], gids: [range] } });
    expect(second.index).toBe(1);
    expect(second.idMaps.uids).toEqual([{ ...range, hostID: 1_065_536 }]);
  });

  test('sees what others have claimed', () => {
    expect([ranges().claim().index, ranges().claim().index, ranges().claim().index]).toEqual([0, 1, 2]);
  });

  test('gives a range again once it has been released', () => {
    const all = ranges();
    for (let i = 0; i < 3; i++) all.claim();
    all.release(1);
    expect([all.claim().index, readdirSync(directory).sort()]).toEqual([1, ['0', '1', '2']]);
  });

  test('is refused when all are taken', () => {
    const all = ranges(2);
    all.claim();
    all.claim();
    expect(refusal(() => all.claim())).toEqual({
      code: 'NO_SPACE',
      message: `all 2 id ranges for user namespaces are taken (${directory}); raise userns-ranges`,
      details: {},
    });
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
    expect(() => ranges().claim()).toThrow('EEXIST');
  });
});

describe('releasing', () => {
  test('what nobody has is no error', () => {
    ranges().release(0);
    const all = ranges();
    all.claim();
    all.release(2);
    expect(readdirSync(directory)).toEqual(['0']);
  });
});

test('a pod’s ranges are those of the configuration, below silt’s root', () => {
  const root = join(directory, '..');
  const config = parseConfig('userns-first-id = 200000\nuserns-ranges = 1', 'config.toml');
  const all = podIdRanges(root, config);
  expect(all.claim().idMaps.gids).toEqual([{ containerID: 0, hostID: 200_000, size: 65536 }]);
  expect(readdirSync(join(root, 'id-ranges'))).toEqual(['0']);
  expect(refusal(() => all.claim()).code).toBe('NO_SPACE');
});
