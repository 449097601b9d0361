import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refusal } from '../../errors/testing/refusal';
import { type ContainerState, isSameProcess, type PodState, recordProcess, StateDirectory } from './state';
import { DEFAULT_ROOT } from './root';

let root: string;
let state: StateDirectory;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'silt-state-'));
  state = new StateDirectory(root);
});
afterEach(() => rmSync(root, { recursive: true }));

const POD: Omit<PodState, 'version'> = {
  id: 'pod',
  sandbox: { pid: 7, startTime: '700' },
  idMaps: { uids: [{ containerID: 0, hostID: 5, size: 6 }], gids: [] },
  idRange: 3,
};
const containerOf = (id: string, pod = 'pod'): Omit<ContainerState, 'version'> => ({
  id,
  pod,
  bundle: '/bundle',
  init: { pid: 8, startTime: '800' },
  created: '2026-01-01T00:00:00.000Z',
  annotations: { key: 'value' },
  cgroup: { mode: 'v2', directories: [] },
  upper: { path: `/${id}/fs`, device: 42 },
});

/** A container whose creation has come to its end. */
function add(id: string, pod = 'pod'): void {
  state.addContainer(pod, id);
  state.writeContainer(containerOf(id, pod));
}

describe('a container’s directory', () => {
  test('has the place where the root is assembled, for root’s eyes only', () => {
    const mountPoint = state.addContainer('pod', 'web');
    expect(mountPoint).toBe(join(root, 'pod/web/rootfs'));
    expect(statSync(mountPoint).mode & 0o777).toBe(0o700);
    expect(statSync(state.containerPath('pod', 'web')).mode & 0o777).toBe(0o700);
    expect(statSync(state.podPath('pod')).mode & 0o777).toBe(0o711);
    expect(state.containersOf('pod')).toEqual(['web']);
  });

  test('is there once', () => {
    state.addContainer('pod', 'web');
    const path = join(root, 'pod/web');
    expect(refusal(() => state.addContainer('pod', 'web'))).toEqual({
      code: 'CONTAINER_EXISTS',
      message: `container web exists already in ${path}; delete it first or choose another id`,
      details: { id: 'web', path },
    });
  });

  test('goes with all that is in it, and the pod’s stays', () => {
    add('web');
    add('db');
    state.removeContainer('pod', 'web');
    expect(readdirSync(state.podPath('pod'))).toEqual(['db']);
    // Again, or of a pod that never was, is no error.
    state.removeContainer('pod', 'web');
    state.removeContainer('none', 'web');
  });

  test('goes with its pod', () => {
    add('web');
    state.addPod(POD);
    state.removePod('pod');
    expect(readdirSync(root)).toEqual([]);
    state.removePod('pod');
  });
});

describe('a pod’s state', () => {
  test('is read as it was written, with the version of its format', () => {
    state.addPod(POD);
    expect(state.readPod('pod')).toEqual({ version: 1, ...POD });
    expect(state.podIfAny('pod')).toEqual({ version: 1, ...POD });
    expect(statSync(join(root, 'pod/pod.json')).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(root, 'pod'))).toEqual(['pod.json']);
  });

  test('is not a container of the pod', () => {
    state.addPod(POD);
    expect(state.containersOf('pod')).toEqual([]);
  });

  test('that is not there is CONTAINER_NOT_FOUND, or nothing where that will do', () => {
    const path = join(root, 'pod/pod.json');
    expect(refusal(() => state.readPod('pod'))).toEqual({
      code: 'CONTAINER_NOT_FOUND',
      message: `there is no pod pod: ENOENT: no such file or directory, open '${path}'`,
      details: { path },
    });
    expect(state.podIfAny('pod')).toBeUndefined();
    expect(state.containersOf('pod')).toEqual([]);
  });

  test('of a newer silt is refused, also where nothing would have done', () => {
    mkdirSync(join(root, 'pod'));
    const path = join(root, 'pod/pod.json');
    writeFileSync(path, JSON.stringify({ ...POD, version: 2 }));
    const newer = {
      code: 'WRONG_STATE',
      message: 'pod pod was started by a newer silt (state version 2, this one knows 1); use that one',
      details: { path },
    };
    expect(refusal(() => state.readPod('pod'))).toEqual(newer);
    expect(refusal(() => state.podIfAny('pod'))).toEqual(newer);
  });
});

describe('a container’s state', () => {
  test('is read as it was written, by the whole id', () => {
    add('web');
    expect(state.findContainer('web')).toEqual({ version: 1, ...containerOf('web') });
    expect(state.containerIfAny('web')).toEqual({ version: 1, ...containerOf('web') });
    expect(readdirSync(join(root, 'pod/web')).sort()).toEqual(['container.json', 'rootfs']);
  });

  test('is replaced as a whole', () => {
    add('web');
    state.writeContainer({ ...containerOf('web'), bundle: '/other' });
    expect(state.findContainer('web').bundle).toBe('/other');
    expect(existsSync(join(root, 'pod/web/container.json.new'))).toBe(false);
    expect(() => JSON.parse(readFileSync(join(root, 'pod/web/container.json'), 'utf8')) as unknown).not.toThrow();
  });

  test.each([
    ['a', 'abc'],
    ['abc', 'abc'],
    ['ab', 'abc'],
    ['b', 'bcd'],
  ])('is found by the prefix %s: %s', (prefix, id) => {
    add('abc');
    add('bcd', 'other');
    expect(state.findContainer(prefix).id).toBe(id);
  });

  test('is found by its id although that is the beginning of another', () => {
    add('web-2');
    add('web');
    expect(state.findContainer('web').id).toBe('web');
    expect(state.containerIfAny('web')?.id).toBe('web');
  });

  test('is not found by a prefix of several', () => {
    add('web-1');
    add('web-2', 'other');
    // In the order in which directories are read.
    const { code, message, details } = refusal(() => state.findContainer('web'));
    expect([code, details]).toEqual(['REQUEST_INVALID', { id: 'web' }]);
    expect(message).toMatch(/^web is the beginning of several container ids: web-\d, web-\d$/);
    expect(state.containerIfAny('web')).toBeUndefined();
  });

  test.each(['web', ''])('that is not there is CONTAINER_NOT_FOUND: %p', (id) => {
    add('db');
    expect(refusal(() => state.findContainer(id))).toEqual({
      code: 'CONTAINER_NOT_FOUND',
      message: `container ${id} does not exist in ${root}; containers of containerd are found with --root ${DEFAULT_ROOT}/<namespace>`,
      details: { id, path: root },
    });
    expect(state.containerIfAny(id)).toBeUndefined();
  });

  test('of a creation that was cut short is not there yet', () => {
    state.addContainer('pod', 'web');
    expect(state.containerIfAny('web')).toBeUndefined();
    expect(refusal(() => state.findContainer('web'))).toMatchObject({
      code: 'CONTAINER_NOT_FOUND',
      details: { id: 'web', path: root },
    });
    expect(state.containersOf('pod')).toEqual(['web']);
  });

  test('is not looked for a directory too high: the message says where it may be', () => {
    const namespace = new StateDirectory(join(root, 'default'));
    namespace.addContainer('web', 'web');
    namespace.writeContainer(containerOf('web', 'web'));
    expect(namespace.findContainer('web').id).toBe('web');
    expect(refusal(() => state.findContainer('web')).message).toBe(
      `container web does not exist in ${root}; containers of containerd are found with --root /run/silt/<namespace>`,
    );
  });

  test('of a newer silt is refused', () => {
    state.addContainer('pod', 'web');
    writeFileSync(join(root, 'pod/web/container.json'), JSON.stringify({ ...containerOf('web'), version: 7 }));
    expect(refusal(() => state.findContainer('web'))).toMatchObject({
      code: 'WRONG_STATE',
      message: 'container web was started by a newer silt (state version 7, this one knows 1); use that one',
    });
  });

  test('a root that is not there has none', () => {
    expect(refusal(() => new StateDirectory(join(root, 'none')).findContainer('web')).code).toBe('CONTAINER_NOT_FOUND');
  });
});

describe('a recorded process', () => {
  test('is the same as long as pid and start time are', () => {
    const own = recordProcess(process.pid);
    expect(own).toEqual({ pid: process.pid, startTime: expect.stringMatching(/^\d+$/) as string });
    expect(isSameProcess(own)).toBe(true);
    expect(isSameProcess({ ...own, startTime: '1' })).toBe(false);
    expect(isSameProcess({ ...own, pid: 1 })).toBe(false);
  });

  test('that has ended is no process any more', () => {
    // Beyond the largest pid_max.
    expect(isSameProcess({ pid: 4194305, startTime: '1' })).toBe(false);
    const gone = recordProcess(4194305);
    expect([gone, isSameProcess(gone)]).toEqual([{ pid: 4194305, startTime: '' }, false]);
  });
});

test('a pod is taken down whole, once', () => {
  state.addPod(POD);
  expect(state.pods()).toEqual([{ version: 1, ...POD }]);
  state.takeDownPod('pod');
  state.takeDownPod('pod');
  expect(state.hasPod('pod')).toBe(false);
  expect(readdirSync(root)).toEqual([]);
});

test('a directory in which no state was completed is as good as none', () => {
  expect(state.isUnused('pod')).toBe(true);
  mkdirSync(state.podPath('pod'));
  writeFileSync(join(state.podPath('pod'), 'pod.json.new'), '{');
  expect(state.isUnused('pod')).toBe(true);
  expect(state.podIds()).toEqual(['pod']);
  state.addPod(POD);
  expect(state.isUnused('pod')).toBe(false);
});
