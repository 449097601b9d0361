import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { checkpointInPod, findInPod, POD_MANIFEST, readPodManifest, restoredName, writePodManifest } from './pod';
import { writeSealed } from './sealed';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'silt-pod-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const member = (name: string, more = {}) => ({
  annotations: {
    'io.kubernetes.cri.container-type': 'container',
    'io.kubernetes.cri.sandbox-id': 'new-pod',
    'io.kubernetes.cri.container-name': name,
    ...more,
  },
});
const writePod = (): Promise<void> =>
  writePodManifest(directory, 'pod', [
    { name: 'pod', first: true, directory: 'pod' },
    { name: 'web', first: false, directory: 'a' },
    { name: 'log', first: false, directory: 'b' },
  ]);

describe('name maps', () => {
  const maps = { 'dev.gvisor.container-name-remap.1': 'web=site', 'dev.gvisor.container-name-remap.x': 'log=journal' };

  test('say what a container was called', () => {
    expect(restoredName(maps, 'site')).toBe('web');
    expect(restoredName(maps, 'journal')).toBe('log');
    expect(restoredName(maps, 'other')).toBe('other');
    expect(restoredName({}, 'site')).toBe('site');
  });

  test.each(['web', 'web=', '=site', 'a=b=c', ''])('%j is none', (value) => {
    const annotations = { 'dev.gvisor.container-name-remap.1': value };
    expect(refusal(() => restoredName(annotations, 'site'))).toMatchObject({ code: 'SPEC_INVALID' });
  });

  test('find a container in the checkpoint of its pod', async () => {
    await writePod();
    expect(findInPod(directory, 'id', member('web'))).toBe(join(directory, 'a'));
    expect(findInPod(directory, 'id', member('site', maps))).toBe(join(directory, 'a'));
    expect(findInPod(directory, 'id', member('pod'))).toBeUndefined();
    expect(findInPod(directory, 'id', {})).toBe(join(directory, 'pod'));
  });
});

describe('a symlink is refused', () => {
  const refused = (reason: RegExp): void =>
    expect(refusal(() => checkpointInPod(directory, 'id', member('web')))).toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringMatching(reason) as string,
    });

  test('in the place of a container’s directory', async () => {
    await writePod();
    mkdirSync(join(directory, 'elsewhere'));
    symlinkSync('elsewhere', join(directory, 'a'));
    refused(/cannot be trusted: a, which pod.json lists, is a symlink$/);
  });

  test('in the place of the list', async () => {
    await writePod();
    renameSync(join(directory, POD_MANIFEST), join(directory, 'other.json'));
    symlinkSync('other.json', join(directory, POD_MANIFEST));
    refused(/pod.json cannot be read: ELOOP/);
  });
});

test('a name that the pod did not have is refused with those that it had', async () => {
  await writePod();
  expect(refusal(() => checkpointInPod(directory, 'id', member('other')))).toMatchObject({
    code: 'CHECKPOINT_INVALID',
    message: expect.stringMatching(/holds no container other; it holds web, log;/) as string,
  });
});

test('the checkpoint of a single container is that of whoever is restored from it', () => {
  expect(checkpointInPod(directory, 'id', member('other'))).toBe(directory);
});

const saved = { name: 'web', first: true, directory: 'a' };
const path = (): string => join(directory, POD_MANIFEST);
const refused = (message: RegExp): void =>
  expect(refusal(() => readPodManifest(directory))).toMatchObject({
    code: 'CHECKPOINT_INVALID',
    message: expect.stringMatching(message) as string,
  });

test('a list is refused with any bit of it changed, or cut short anywhere', async () => {
  await writePod();
  const written = readFileSync(path());
  for (let i = 0; i < 8 * written.length; i++) {
    const bytes = Buffer.from(written);
    bytes[i >> 3]! ^= 1 << (i & 7);
    // White space behind the digest, as the last line's end is.
    if (bytes.toString().trim() === written.toString().trim()) continue;
    writeFileSync(path(), bytes);
    refused(/pod.json is damaged or was changed/);
  }
  for (let length = 0; length < written.length - 1; length++) {
    writeFileSync(path(), written.subarray(0, length));
    refused(/pod.json is damaged or was changed/);
  }
});

test('a list of format 1 is read as it was written: without a digest', () => {
  const list = { version: 1, pod: 'pod', containers: [saved] };
  writeFileSync(path(), `${JSON.stringify(list, null, 1)}\n`);
  expect(readPodManifest(directory)).toEqual(list);
  writeFileSync(path(), `${JSON.stringify({ ...list, version: 2 }, null, 1)}\n`);
  refused(/pod.json is damaged or was changed/);
});

test.each([
  [{ version: 9, containers: [] }, /is of format 9, and this silt knows 2/],
  [{ containers: [] }, /is of format unknown/],
  [{ version: 2 }, /has no list of containers/],
  [{ version: 2, containers: [null] }, /lists null, which has no name/],
  [{ version: 2, containers: [{ ...saved, name: 7 }] }, /which has no name/],
  [{ version: 2, containers: [saved, { name: 'log', first: false }] }, /lists {"name":"log","first":false}, which/],
])('the list %j is refused with the right digest, too', async (list, message) => {
  await writeSealed(path(), list);
  refused(message);
});

test.each(['', '.', '..', '../img', 'a/b', '/a', 'a/', 'a\0b', 7])(
  'a container whose directory is called %j is refused',
  async (name) => {
    const containers = [saved, { ...saved, first: false, directory: name }];
    await writeSealed(path(), { version: 2, containers });
    refused(/which has no name or no plain name of a directory/);
    writeFileSync(path(), JSON.stringify({ version: 1, containers }));
    refused(/which has no name or no plain name of a directory/);
    expect(refusal(() => checkpointInPod(directory, 'id', {}))).toMatchObject({ code: 'CHECKPOINT_INVALID' });
  },
);

test('a list that cannot be read is refused', () => {
  mkdirSync(path());
  refused(/is damaged: pod.json cannot be read: EISDIR/);
});
