import { refusal } from '../../errors/testing/refusal';
import { allowCheckpointPath, applicationCheckpoint } from './annotations';

const of = (options: Record<string, string>): unknown =>
  applicationCheckpoint({
    annotations: Object.fromEntries(
      Object.entries(options).map(([name, value]) => [`dev.gvisor.internal.checkpoint.${name}`, value]),
    ),
  });

test('a container without the annotations has no checkpoint file', () => {
  expect(of({})).toBeUndefined();
  expect(applicationCheckpoint({})).toBeUndefined();
  expect(applicationCheckpoint({ annotations: { 'dev.gvisor.internal.cpufeatures': 'fpu' } })).toBeUndefined();
});

test.each([
  [{ path: '/images/web' }, { path: '/images/web', resume: false, enable: false }],
  [{ enable: 'true' }, { path: undefined, resume: false, enable: true }],
  [
    { path: '', enable: '1', resume: 'T' },
    { path: undefined, resume: true, enable: true },
  ],
  [
    { enable: 'yes', resume: 'false' },
    { path: undefined, resume: false, enable: false },
  ],
])('%j', (given, expected) => {
  expect(of(given)).toEqual(expected);
});

test.each([
  ['/srv/images/web', true],
  ['/srv/images', false],
  ['/srv/images/../web', false],
  ['/srv/images-of-others/web', false],
  ['images/web', false],
])('a pod may be saved to %s: %s', (path, allowed) => {
  const spec = { annotations: { 'dev.gvisor.internal.checkpoint.path': path } };
  const allow = (): void => allowCheckpointPath(spec, { checkpointDirectories: ['/srv/images/'] });
  if (allowed) allow();
  else expect(refusal(allow)).toMatchObject({ code: 'CHECKPOINT_REFUSED', details: { path } });
});
