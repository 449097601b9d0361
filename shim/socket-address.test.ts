import { socketPath } from './socket-address';

// Computed with another implementation (Python's integers), which gives the published 128-bit FNV-1a hashes of "", "a" and "foobar".
test.each([
  ['/run/containerd/containerd.sock', 'k8s.io', 'web', 'f3b3225c4c35702ca95989971460929b'],
  ['/run/containerd/containerd.sock', 'default', 'réplica-1', '9a1491d1c7651c992c906c283d9d85b3'],
  ['', '', '', 'a68bb3934c8b5822836dbc78c7423ce7'],
  // The same letters, cut elsewhere.
  ['a', 'b', 'c', 'd6016002763c64bf6f105ccc14f3dc15'],
  ['a', '', 'bc', 'd3268bd2943c64bf6f105beb3604bab9'],
  ['x'.repeat(300), 'y'.repeat(300), 'z'.repeat(300), 'e00f6e5352504beb7b211f12dd22fe73'],
])('address %j, namespace %j, pod %j', (address, namespace, pod, hash) => {
  expect(socketPath('/run/silt', address, namespace, pod)).toBe(`/run/silt/s/${hash}`);
});

test('a path under the usual root fits into a socket’s address', () => {
  expect(socketPath('/run/silt', 'a', 'b', 'c').length).toBeLessThanOrEqual(107);
});
