import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '../oci';
import { criCheckpointDirectory } from './cri-directory';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'silt-cri-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const mounting = (source: string): Spec => ({
  ociVersion: '1.0.2',
  mounts: [{ destination: '/proc' }, { destination: '/etc/hostname', source }],
});

test('is found beside the pod’s, where containerd has a container of that id', () => {
  const spec = mounting(join(root, 'sandboxes/pod/hostname'));
  expect(criCheckpointDirectory('one', spec)).toBeUndefined();
  mkdirSync(join(root, 'containers/one'), { recursive: true });
  expect(criCheckpointDirectory('one', spec)).toBeUndefined();
  writeFileSync(join(root, 'containers/one/status'), '{}');
  expect(criCheckpointDirectory('one', spec)).toBe(join(root, 'containers/one'));
  mkdirSync(join(root, 'containers/one/ctrd-checkpoint'));
  expect(criCheckpointDirectory('one', spec)).toBe(join(root, 'containers/one/ctrd-checkpoint'));
});

test('is none for a container that CRI has not made', () => {
  mkdirSync(join(root, 'containers/one'), { recursive: true });
  writeFileSync(join(root, 'containers/one/status'), '{}');
  expect(criCheckpointDirectory('one', mounting(join(root, 'elsewhere/pod/hostname')))).toBeUndefined();
  expect(criCheckpointDirectory('one', { ociVersion: '1.0.2' })).toBeUndefined();
});
