import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { type Manifest, writeManifest } from '../checkpoint-image/manifest';
import { writePodManifest } from '../checkpoint';
import { checkpointAskedFor } from './restore';

let allowed: string;
beforeEach(() => {
  allowed = mkdtempSync(join(tmpdir(), 'silt-restore-'));
});
afterEach(() => rmSync(allowed, { recursive: true }));

const NAME = 'io.kubernetes.cri.container-name';
const asking = (path: string, more = {}) => ({ annotations: { 'dev.gvisor.internal.restore.path': path, ...more } });
const cri = (name: string) => ({
  'io.kubernetes.cri.container-type': 'container',
  'io.kubernetes.cri.sandbox-id': 'pod',
  [NAME]: name,
});
const find = (spec: object): string | undefined => checkpointAskedFor('id', spec, { checkpointDirectories: [allowed] });

async function save(annotations: object): Promise<string> {
  const directory = join(allowed, 'one');
  mkdirSync(directory);
  await writeManifest(directory, { version: 2, spec: { annotations }, files: [] as Manifest['files'] } as Manifest);
  return directory;
}

test('without the annotation nothing is restored', () => {
  expect(find({})).toBeUndefined();
  expect(find(asking(''))).toBeUndefined();
});

test.each(['/elsewhere', 'relative'])('from %s, which the operator does not allow', (path) => {
  expect(refusal(() => find(asking(path)))).toMatchObject({ code: 'CHECKPOINT_REFUSED' });
  expect(refusal(() => find(asking(join(allowed, '..', path))))).toMatchObject({ code: 'CHECKPOINT_REFUSED' });
});

test('of a pod each container by its name, and not the one that holds the pod', async () => {
  const directory = join(allowed, 'pod');
  mkdirSync(directory);
  await writePodManifest(directory, 'pod', [
    { name: 'pod', first: true, directory: 'p' },
    { name: 'web', first: false, directory: 'w' },
  ]);
  expect(find(asking(directory, cri('web')))).toBe(join(directory, 'w'));
  expect(find(asking(directory, cri('init')))).toBeUndefined();
  expect(find(asking(directory, { 'io.kubernetes.cri.container-type': 'sandbox' }))).toBeUndefined();
  expect(find(asking(directory))).toBe(join(directory, 'p'));
});

test('of a single container for the one of its name', async () => {
  const directory = await save({ [NAME]: 'web' });
  expect(find(asking(directory, cri('web')))).toBe(directory);
  expect(find(asking(directory, cri('log')))).toBeUndefined();
  const map = { 'dev.gvisor.container-name-remap.1': 'web=site' };
  expect(find(asking(directory, { ...cri('site'), ...map }))).toBe(directory);
  expect(find(asking(directory))).toBe(directory);
});

test('where there is no checkpoint', () => {
  expect(refusal(() => find(asking(join(allowed, 'none'))))).toMatchObject({ code: 'CHECKPOINT_INVALID' });
});
