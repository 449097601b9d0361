import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import type { Mount, Spec } from '../../oci';
import { describeMounts } from './filesystems';
import { checkSpec, openCheckpoint } from './image';
import { type Manifest, writeManifest } from './manifest';

const spec = (mounts: readonly Partial<Mount>[], process: object = {}): Spec => ({
  ociVersion: '1.0.2',
  process: { args: ['true'], cwd: '/', user: { uid: 0, gid: 0 }, ...process },
  mounts: mounts as Mount[],
});
const saved = (mounts: readonly Partial<Mount>[], terminal?: string) => ({
  spec: spec(mounts),
  mounts: describeMounts(spec(mounts)),
  ...(terminal === undefined ? {} : { terminal }),
});

const proc = { destination: '/proc', type: 'proc', source: 'proc' };
const data = { destination: '/data', type: 'bind', source: '/srv/one', options: ['rbind'] };

test.each([
  ['the same mounts', [proc, data], [proc, data]],
  ['in another order', [proc, data], [data, proc]],
  ['a bind mount of something else', [data], [{ ...data, source: '/srv/two', options: ['bind', 'ro'] }]],
  ['a bind mount by its options', [data], [{ destination: '/data', source: '/srv', options: ['rbind'] }]],
  ['a bind mount by saying no type', [{ destination: '/data', source: '/srv' }], [data]],
  ['none', [], []],
])('%s fit', (_, before, now) => {
  expect(() => checkSpec(saved(before), { spec: spec(now) })).not.toThrow();
});

test('what is missing, different and new is listed', () => {
  const before = [proc, data, { destination: '/cache', type: 'tmpfs' }];
  const now = [proc, { destination: '/cache', type: 'bind', source: '/c' }, { destination: '/new', type: 'tmpfs' }];
  expect(refusal(() => checkSpec(saved(before), { spec: spec(now) }))).toMatchObject({
    code: 'CHECKPOINT_INVALID',
    message: expect.stringContaining(
      'missing: /data; different: /cache (tmpfs, now bind); not in the checkpoint: /new',
    ) as string,
  });
});

test('a terminal goes on as one', () => {
  expect(() => checkSpec(saved([], 'tty[8800:1]'), { spec: spec([], { terminal: true }) })).not.toThrow();
  for (const [before, terminal] of [
    [saved([], 'tty[8800:1]'), false],
    [saved([]), true],
  ] as const) {
    const message = expect.stringContaining('terminal') as string;
    expect(refusal(() => checkSpec(before, { spec: spec([], { terminal }) }))).toMatchObject({ message });
  }
});

describe('a checkpoint of another machine', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'silt-image-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test.each([
    ['another architecture', { architecture: 'pdp11' }, /was taken on pdp11, and this machine is \w+$/],
    [
      'a CPU with more features',
      { cpuFeatures: ['warp'] },
      /with features that this one lacks: warp; its programs may/,
    ],
  ])('%s is refused', async (_, changes, message) => {
    const usual = { version: 2, silt: '9.9', architecture: process.arch, cpuFeatures: [], files: [], ...saved([]) };
    await writeManifest(directory, { ...usual, ...changes } as unknown as Manifest);
    const opening = openCheckpoint(directory, spec([]), { baseline: 'none' });
    await expect(opening).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringMatching(message) as string,
    });
  });
});
