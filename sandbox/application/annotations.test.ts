import { applicationCheckpoint } from './annotations';

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
