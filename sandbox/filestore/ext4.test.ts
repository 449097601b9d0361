import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { formatExt4 } from './ext4';

const directory = mkdtempSync(join(tmpdir(), 'silt-ext4-'));
afterAll(() => rmSync(directory, { recursive: true }));

const options = { uuid: Buffer.alloc(16, 7), hashSeed: Buffer.alloc(16, 9), time: 1_700_000_000 };
const E2FSCK = '/usr/sbin/e2fsck';
const hasE2fsck = spawnSync(E2FSCK, ['-V']).status === 0;
const MIB = 2 ** 20;

function write(sizeBytes: number): string {
  const image = formatExt4({ ...options, sizeBytes });
  const path = join(directory, `${sizeBytes}`);
  const fd = openSync(path, 'w');
  ftruncateSync(fd, image.sizeBytes);
  for (const { offset, bytes } of image.pieces) writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
  return path;
}

describe('an empty ext4', () => {
  (hasE2fsck ? test : test.skip).each([
    ['of a megabyte', MIB],
    ['of a size that is no multiple of a block', 3 * MIB + 1000],
    ['of one whole group', 128 * MIB],
    ['of a group and a little, which is left out', 130 * MIB],
    ['of two groups', 200 * MIB],
    ['of many', 10_240 * MIB],
    ['of a hundred gigabytes', 100 * 2 ** 30],
  ])('%s is in order to e2fsck', (_, sizeBytes) => {
    const path = write(sizeBytes);
    const { status, stdout, stderr } = spawnSync(E2FSCK, ['-f', '-n', path], { encoding: 'utf8' });
    expect({ status, stdout, stderr }).toMatchObject({ status: 0 });
    expect(stdout).not.toMatch(/fix|clear|create/i);
    expect(statSync(path).size).toBeLessThanOrEqual(sizeBytes);
  });

  test('occupies next to nothing', () => {
    expect(statSync(write(10_240 * MIB)).blocks * 512).toBeLessThan(64 * 1024);
  });

  test('of no size is refused', () => {
    expect(refusal(() => formatExt4({ ...options, sizeBytes: 65536 }))).toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
