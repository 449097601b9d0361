import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { checkpointInPod, findInPod, POD_MANIFEST, restoredName, writePodManifest } from './pod';

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

test.each([
  ['{', /cannot be read/],
  ['{"version": 9, "containers": []}', /is of format 9, and this silt knows 1/],
  ['{"version": 1}', /is of format 1/],
])('a list like %s is refused', (text, message) => {
  writeFileSync(join(directory, POD_MANIFEST), text);
  expect(refusal(() => findInPod(directory, 'id', {}))).toMatchObject({
    code: 'CHECKPOINT_INVALID',
    message: expect.stringMatching(message) as string,
  });
});
