import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { type Manifest, MANIFEST, writeManifest } from '../checkpoint-image/manifest';
import { POD_MANIFEST, writePodManifest } from '../checkpoint-image/pod';
import { claimTarget } from './target';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'silt-target-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('of two checkpoints that are written to one path at once the first to be complete has it', async () => {
  const [one, two] = [claimTarget(join(directory, 'image')), claimTarget(join(directory, 'image'))];
  writeFileSync(join(one.temporary, 'one'), '');
  writeFileSync(join(two.temporary, 'two'), '');
  await one.finish();
  await expect(two.finish()).rejects.toMatchObject({ code: 'CHECKPOINT_EXISTS' });
  two.remove();
  expect(readdirSync(directory)).toEqual(['image']);
  expect(readdirSync(one.path)).toEqual(['one']);
});

test('what killed writers have left behind is removed, under the names of older versions, too', () => {
  // Above PID_MAX_LIMIT (proc(5)).
  for (const name of ['.image.silt-4194305', '.image.silt-4194305-2', '.image.silt-4194305x', '.image.silt-1-1'])
    mkdirSync(join(directory, name));
  claimTarget(join(directory, 'image')).remove();
  expect(readdirSync(directory).sort()).toEqual(['.image.silt-1-1', '.image.silt-4194305x']);
});

test('a checkpoint within another is refused', async () => {
  const refused = (path: string): void =>
    expect(refusal(() => claimTarget(join(directory, path)))).toMatchObject({
      code: 'CHECKPOINT_EXISTS',
      message: expect.stringContaining('is a checkpoint itself') as string,
    });
  const single = join(directory, 'single');
  mkdirSync(single);
  const manifest: Partial<Manifest> = { version: 3, silt: '1.0.0', files: [] };
  await writeManifest(single, manifest as Manifest);
  refused(`single/${POD_MANIFEST}`);
  refused('single/a/b');
  // It may be mended, or what is in it be looked at.
  writeFileSync(join(single, MANIFEST), readFileSync(join(single, MANIFEST), 'utf8').replace('1.0.0', '1.0.1'));
  refused('single/a/b');
  mkdirSync(join(directory, 'pod'));
  await writePodManifest(join(directory, 'pod'), 'pod', []);
  refused('pod/more');
  // As format 1 was.
  writeFileSync(join(directory, 'pod', POD_MANIFEST), JSON.stringify({ version: 1, pod: 'pod', containers: [] }));
  refused('pod/more');
  expect(existsSync(join(directory, 'pod/more'))).toBe(false);
});

test('a pod.json that is no manifest, as crictl reads one, forbids nothing', () => {
  writeFileSync(join(directory, POD_MANIFEST), JSON.stringify({ metadata: { name: 'web' } }));
  claimTarget(join(directory, 'image')).remove();
});
