import { NamespaceMode, PodSandboxConfig } from '../proto';
import { describeSandbox } from './sandbox-config';

const ids = [{ hostId: 300_000, containerId: 0, length: 65536 }];
const withUsers = (mode: number): PodSandboxConfig =>
  PodSandboxConfig.decode(
    PodSandboxConfig.encode({
      linux: { securityContext: { namespaceOptions: { usernsOptions: { mode, uids: ids, gids: ids } } } },
    }),
  );

test.each([
  ['its own', NamespaceMode.POD, [{ hostID: 300_000, containerID: 0, size: 65536 }]],
  ['the host’s', NamespaceMode.NODE, undefined],
])('a pod whose user namespace is %s', (_what, mode, mappings) => {
  expect(describeSandbox(withUsers(mode), '').spec.linux?.uidMappings).toEqual(mappings);
});

test.each([
  ['CONTAINER', NamespaceMode.CONTAINER],
  ['TARGET', NamespaceMode.TARGET],
  ['7', 7],
])('a user namespace of the mode %s is refused', (name, mode) => {
  expect(() => describeSandbox(withUsers(mode), '')).toThrow(
    `cannot create the pod: its user namespace is to have the mode ${name}, but can be its own (POD) or the host's (NODE)`,
  );
});
