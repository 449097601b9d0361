import { join } from 'node:path';
import protobuf from 'protobufjs';
import { checkout } from '../checkout';

test('the messages that the client speaks are whole: each is there, once', () => {
  const root = protobuf.loadSync(join(checkout, 'integration/harness/cri/cri.proto'));
  expect(() => root.resolveAll()).not.toThrow();
});
