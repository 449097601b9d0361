import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Spec } from '../oci';
import { criCheckpointDirectory } from './cri-directory';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'silt-cri-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const mounting = (source: string, pod = 'pod'): Spec => ({
  ociVersion: '1.0.2',
  annotations: { 'io.kubernetes.cri.sandbox-id': pod },
  mounts: [{ destination: '/proc' }, { destination: '/etc/hostname', source }],
});

function makeAll(): void {
  for (const name of ['sandboxes/pod', 'containers/one/ctrd-checkpoint'])
    mkdirSync(join(root, name), { recursive: true });
}

test('is found beside the pod’s, where containerd has a container of that id', () => {
  const spec = mounting(join(root, 'sandboxes/pod/hostname'));
  mkdirSync(join(root, 'sandboxes/pod'), { recursive: true });
  expect(criCheckpointDirectory('one', spec)).toBeUndefined();
  mkdirSync(join(root, 'containers/one'), { recursive: true });
  expect(criCheckpointDirectory('one', spec)).toBeUndefined();
  writeFileSync(join(root, 'containers/one/status'), '{}');
  expect(criCheckpointDirectory('one', spec)).toBe(join(root, 'containers/one'));
  mkdirSync(join(root, 'containers/one/ctrd-checkpoint'));
  expect(criCheckpointDirectory('one', spec)).toBe(join(root, 'containers/one/ctrd-checkpoint'));
});

test('is none for a container that CRI has not made', () => {
  makeAll();
  mkdirSync(join(root, 'elsewhere/pod'), { recursive: true });
  expect(criCheckpointDirectory('one', mounting(join(root, 'elsewhere/pod/hostname')))).toBeUndefined();
  expect(criCheckpointDirectory('one', { ociVersion: '1.0.2' })).toBeUndefined();
});

test('is none where a mount on one of those files is not of the directory of the container’s own pod', () => {
  makeAll();
  const source = join(root, 'sandboxes/pod/hostname');
  expect(criCheckpointDirectory('one', mounting(source))).toBe(join(root, 'containers/one/ctrd-checkpoint'));
  expect(criCheckpointDirectory('one', mounting(source, 'other'))).toBeUndefined();
  expect(criCheckpointDirectory('one', { ...mounting(source), annotations: {} })).toBeUndefined();
  expect(criCheckpointDirectory('one', mounting('sandboxes/pod/hostname'))).toBeUndefined();
});

test.each(['sandboxes', 'sandboxes/pod', 'containers', 'containers/one'])('is none where %s is a symlink', (name) => {
  makeAll();
  renameSync(join(root, name), join(root, 'moved'));
  symlinkSync(join(root, 'moved'), join(root, name));
  expect(criCheckpointDirectory('one', mounting(join(root, 'sandboxes/pod/hostname')))).toBeUndefined();
});

test('is the real one where containerd’s root is a symlink', () => {
  makeAll();
  const link = `${root}.link`;
  symlinkSync(root, link);
  try {
    const found = criCheckpointDirectory('one', mounting(join(link, 'sandboxes/pod/hostname')));
    expect(found).toBe(join(root, 'containers/one/ctrd-checkpoint'));
  } finally {
    rmSync(link);
  }
});
