import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, closeSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../native';
import { NO_PROCESS, StateDirectory } from '../sandbox';
import { recordProcess } from '../sandbox/state/state';
import { Kernel } from '../syscall';
import { sweep } from './leftovers';
import { answers, lockSockets } from './sockets';
import { listenAt } from './testing/listen';

const kernel = new Kernel(loadNative(), -1);
let root: string;
let state: StateDirectory;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'silt-sweep-'));
  mkdirSync(join(root, 's'));
  state = new StateDirectory(join(root, 'default'));
});
afterEach(() => rmSync(root, { recursive: true }));

const socketOf = (name: string): string => join(root, 's', name);
/** As a killed shim leaves it. */
function leaveSocket(name: string): string {
  closeSync(listenAt(kernel, socketOf(name)));
  return socketOf(name);
}
const addPod = (id: string, socket?: string): void =>
  state.addPod({ id, sandbox: NO_PROCESS, idMaps: null, ...(socket === undefined ? {} : { socket }) });
/** As if it had been seen without its shim long ago. */
const age = (id: string): void => utimesSync(join(state.podPath(id), 'abandoned'), 0, 0);

test('removes sockets on which nobody listens, and no other', async () => {
  leaveSocket('dead');
  const server = createServer().listen(socketOf('live'));
  const fd = listenAt(kernel, socketOf('mute'));
  await sweep(root, state, kernel);
  expect(readdirSync(join(root, 's')).sort()).toEqual(['live', 'mute']);
  closeSync(fd);
  await new Promise((resolve) => server.close(resolve));
});

test('says when there will be more to remove, and does not ask pods that are known to live', async () => {
  addPod('web', join(root, 's', 'none'));
  addPod('own', join(root, 's', 'none'));
  expect(await sweep(root, state, kernel, (id) => id === 'own')).toBe(6000);
  age('web');
  expect(await sweep(root, state, kernel, (id) => id === 'own')).toBeUndefined();
  expect(state.podIds()).toEqual(['own']);
});

test('leaves the sockets alone while another process binds or removes some', async () => {
  leaveSocket('dead');
  const lock = lockSockets(kernel, join(root, 's'), true);
  expect(lockSockets(kernel, join(root, 's'), false)).toBeUndefined();
  await sweep(root, state, kernel);
  expect(existsSync(socketOf('dead'))).toBe(true);
  closeSync(lock);
  await sweep(root, state, kernel);
  expect(existsSync(socketOf('dead'))).toBe(false);
});

test('removes a pod that has been without its shim for a while, not at once', async () => {
  addPod('web', leaveSocket('web'));
  await sweep(root, state, kernel);
  expect(state.hasPod('web')).toBe(true);
  await sweep(root, state, kernel);
  expect(state.hasPod('web')).toBe(true);
  age('web');
  await sweep(root, state, kernel);
  expect(state.hasPod('web')).toBe(false);
});

test('never removes a pod whose shim answers, or one that has none', async () => {
  const server = createServer().listen(socketOf('live'));
  addPod('served', socketOf('live'));
  addPod('of-the-command-line');
  for (let i = 0; i < 2; i++) await sweep(root, state, kernel);
  expect(readdirSync(join(root, 'default')).sort()).toEqual(['of-the-command-line', 'served']);
  expect(existsSync(join(state.podPath('served'), 'abandoned'))).toBe(false);
  await new Promise((resolve) => server.close(resolve));
});

test('leaves a pod whose shim runs and listens no more: it is about to end, and may wait for a hook', async () => {
  const parent = process.ppid;
  const socket = leaveSocket('ending');
  state.addPod({ id: 'ending', sandbox: NO_PROCESS, idMaps: null, socket, shim: recordProcess(parent) });
  state.addPod({ id: 'ended', sandbox: NO_PROCESS, idMaps: null, socket, shim: { pid: parent, startTime: '1' } });
  // This process knows which pods it serves.
  state.addPod({ id: 'mine', sandbox: NO_PROCESS, idMaps: null, socket, shim: recordProcess(process.pid) });
  await sweep(root, state, kernel);
  for (const id of ['ended', 'mine']) age(id);
  await sweep(root, state, kernel);
  expect(state.podIds()).toEqual(['ending']);
});

test('asks whether somebody listens', async () => {
  expect(await answers(socketOf('none'))).toBe(false);
  expect(await answers(leaveSocket('dead'))).toBe(false);
});

test('removes what was made of a pod whose shim was killed before it wrote a state', async () => {
  mkdirSync(state.podPath('web'), { recursive: true });
  await sweep(root, state, kernel);
  expect(state.hasPod('web')).toBe(true);
  age('web');
  await sweep(root, state, kernel);
  expect(state.hasPod('web')).toBe(false);
});

test('leaves alone what a living process takes down, and removes what a dead one has begun to', async () => {
  const [alive, dead] = [`.gone-${process.pid}-web`, '.gone-4194305-web'];
  for (const name of [alive, dead]) mkdirSync(join(root, 'default', name), { recursive: true });
  await sweep(root, state, kernel);
  expect(readdirSync(join(root, 'default'))).toEqual([alive]);
  expect(readdirSync(join(root, 'default', alive))).toEqual([]);
});
