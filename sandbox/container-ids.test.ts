import type { Spec } from '../oci';
import { containerIdMaps } from './container-ids';

const range = [{ containerID: 0, hostID: 100_000, size: 65536 }];
const MAPS = { uids: range, gids: range };

function spec(capabilities: string[], user = false): Spec {
  const namespaces = user ? [{ type: 'user' }] : [];
  return { ociVersion: '1.2.0', process: { capabilities: { bounding: capabilities } }, linux: { namespaces } } as never;
}

const PRIVILEGED = ['CAP_SYS_ADMIN', 'CAP_SYS_MODULE', 'CAP_SYS_RAWIO', 'CAP_CHOWN'];

test.each<[string, Spec, boolean]>([
  ['an ordinary container has the pod’s', spec(['CAP_CHOWN']), true],
  ['so has one with many capabilities', spec(PRIVILEGED.slice(0, 2)), true],
  ['a privileged one has the host’s', spec(PRIVILEGED), false],
  ['unless it asks for a user namespace', spec(PRIVILEGED, true), true],
])('ids: %s', (_, one, pods) => {
  expect(containerIdMaps(MAPS, one)).toBe(pods ? MAPS : null);
  expect(containerIdMaps(null, one)).toBeNull();
});
