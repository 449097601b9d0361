/** Telling containerd 2.3 and later from older ones by stdin; the bytes themselves: fixtures.test.ts. */
import { Any, BootstrapParams, packAny, readBootstrapParams, RuntimeOptions } from './index';

const params = BootstrapParams.encode({ instanceId: 'web', namespace: 'default' });

test('parameters that repeat the command line', () => {
  expect(readBootstrapParams(params, 'web', 'default')).toMatchObject({ instanceId: 'web', namespace: 'default' });
});

test.each([
  ['nothing', new Uint8Array(), 'web', 'default'],
  [
    "the runtime's options, which are no malformed parameters",
    Any.encode(packAny(RuntimeOptions, {})),
    'web',
    'default',
  ],
  ['another id', params, 'other', 'default'],
  ['another namespace', params, 'web', 'other'],
  ['no protobuf', new TextEncoder().encode('{}'), 'web', 'default'],
])('no parameters: %s', (_name, stdin, id, namespace) => {
  expect(readBootstrapParams(stdin, id, namespace)).toBeUndefined();
});
