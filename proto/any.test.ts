import { SiltError } from '../errors';
import { isAny, packAny, packSpec, RuncOptions, RuntimeOptions, specText, unpackAny } from './index';
import { unpackCheckpointOptions, unpackTaskOptions } from './options';

const noBytes = new Uint8Array();

test('a message is packed under its bare name', () => {
  expect(packAny(RuncOptions, { root: '/r' })).toEqual({
    typeUrl: 'containerd.runc.v1.Options',
    value: RuncOptions.encode({ root: '/r' }),
  });
});

test.each([
  ['containerd.runc.v1.Options', true],
  ['type.googleapis.com/containerd.runc.v1.Options', true],
  ['xcontainerd.runc.v1.Options', false],
  ['containerd.runc.v1.CheckpointOptions', false],
  ['', false],
])('type URL "%s" is runc options: %s', (typeUrl, expected) => {
  expect(isAny({ typeUrl, value: noBytes }, RuncOptions.typeName)).toBe(expected);
  expect(unpackAny(RuncOptions, { typeUrl, value: noBytes }) !== undefined).toBe(expected);
});

test('the types of the OCI spec are JSON', () => {
  const any = packSpec('process', { args: ['é'], cwd: '/' });
  expect(any.typeUrl).toBe('types.containerd.io/opencontainers/runtime-spec/1/Process');
  expect(JSON.parse(specText('process', any))).toEqual({ args: ['é'], cwd: '/' });
});

test.each([
  ['another type', packSpec('spec', {})],
  ['none', undefined],
])('a process spec is refused: %s', (_name, any) => {
  expect(() => specText('process', any)).toThrow(SiltError);
  expect(() => specText('process', any)).toThrow(/^cannot read process: /);
});

test.each([
  ['none', undefined, { type: 'none' }],
  ['an empty Any', { typeUrl: '', value: noBytes }, { type: 'none' }],
  ['runc', packAny(RuncOptions, { root: '/r' }), { type: 'runc', options: { root: '/r' } }],
  ['CRI', packAny(RuntimeOptions, { configPath: '/c' }), { type: 'runtime', options: { configPath: '/c' } }],
  [
    'CRI of containerd 1.4',
    { typeUrl: 'cri.runtimeoptions.v1.Options', value: RuntimeOptions.encode({ configPath: '/c' }) },
    { type: 'runtime', options: { configPath: '/c' } },
  ],
  [
    'restore, by a client of containerd 1.6',
    { typeUrl: 'containerd.linux.runc.CreateOptions', value: new Uint8Array([0x6a, 2, 0x2f, 0x69]) },
    { type: 'linux-runc', options: { criuImagePath: '/i' } },
  ],
  ['something else', { typeUrl: 'a.B', value: noBytes }, { type: 'unknown', typeUrl: 'a.B' }],
])('options of a task: %s', (_name, any, expected) => {
  expect(unpackTaskOptions(any)).toMatchObject(expected);
});

test.each([
  ['newer', 'containerd.runc.v1.CheckpointOptions', [0x42, 2, 0x2f, 0x69]],
  ['older', 'containerd.linux.runc.CheckpointOptions', [0x4a, 2, 0x2f, 0x69]],
])('options of a checkpoint, %s form', (_name, typeUrl, value) => {
  const options = unpackCheckpointOptions({ typeUrl, value: new Uint8Array([8, 1, ...value]) });
  expect(options).toMatchObject({ exit: true, imagePath: '/i', workPath: '', parentPath: '' });
});

test('options of a checkpoint: none', () => {
  expect(unpackCheckpointOptions(undefined)).toBeUndefined();
});
