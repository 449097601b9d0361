import { randomBytes } from 'node:crypto';
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { SHARE } from './digests';
import { describeFile } from './manifest';
import { MemoryDigests } from './memory-digests';

const directory = mkdtempSync(join(tmpdir(), 'silt-memory-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
test('a file that grows has in the end the digests of what is in it', async () => {
  const digests = new MemoryDigests(directory);
  try {
    const path = join(directory, 'pages-1.img');
    writeFileSync(path, '');
    for (const size of [SHARE, SHARE + 5, 3 * SHARE, 12_345]) {
      appendFileSync(path, randomBytes(size));
      await setTimeout(30);
    }
    expect(await digests.describe('pages-1.img')).toEqual(await describeFile(directory, 'pages-1.img'));
  } finally {
    await digests.end();
  }
});

test('what was not seen growing is read when it is described, as other files are', async () => {
  const digests = new MemoryDigests(directory);
  writeFileSync(join(directory, 'pages-2.img'), randomBytes(100_000));
  writeFileSync(join(directory, 'core-1.img'), 'x');
  expect(await digests.describe('pages-2.img')).toEqual(await describeFile(directory, 'pages-2.img'));
  expect(await digests.describe('core-1.img')).toEqual(await describeFile(directory, 'core-1.img'));
  await digests.end();
});

test('a file that has become shorter than what was seen of it is refused', async () => {
  const path = join(directory, 'pages-4.img');
  let refused: unknown;
  // On a busy machine it may not have been looked at yet.
  for (const wait of [50, 500, 5000]) {
    writeFileSync(path, randomBytes(2 * SHARE));
    const digests = new MemoryDigests(directory);
    await setTimeout(wait);
    truncateSync(path, 123_456);
    await digests.describe('pages-4.img').catch((error: unknown) => (refused = error));
    await digests.end();
    if (refused !== undefined) break;
  }
  const message = expect.stringContaining('pages-4.img became shorter') as string;
  expect(refused).toMatchObject({ code: 'CHECKPOINT_INVALID', message });
}, 20_000);

test('it may be ended in the middle, and when its files are gone', async () => {
  const digests = new MemoryDigests(directory);
  writeFileSync(join(directory, 'pages-3.img'), randomBytes(2 * SHARE));
  await setTimeout(30);
  truncateSync(join(directory, 'pages-3.img'));
  rmSync(directory, { recursive: true });
  await setTimeout(30);
  await digests.end();
});
