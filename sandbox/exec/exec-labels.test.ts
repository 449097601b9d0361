import { refusal } from '../../errors/testing/refusal';
import { checkMountLabel, execLabels } from './exec-labels';

const NONE = { securityModules: { apparmor: false, selinux: false }, hasSelinuxLabel: () => false };
const BOTH = { securityModules: { apparmor: true, selinux: true }, hasSelinuxLabel: (label: string) => label !== 'x' };

test('are what the security modules take', () => {
  const process = { apparmorProfile: 'docker-default', selinuxLabel: 'system_u:system_r:container_t:s0:c1,c2' };
  expect(execLabels(process, BOTH)).toEqual([
    { file: 'apparmor/exec', text: 'exec docker-default' },
    { file: 'exec', text: 'system_u:system_r:container_t:s0:c1,c2' },
    { file: 'keycreate', text: 'system_u:system_r:container_t:s0:c1,c2' },
  ]);
  expect(execLabels({ apparmorProfile: '', selinuxLabel: '' }, BOTH)).toEqual([]);
});

test('that the host cannot give are refused, but for no confinement', () => {
  expect(refusal(() => execLabels({ apparmorProfile: 'x' }, NONE))).toMatchObject({
    code: 'HOST_UNSUPPORTED',
    details: { jsonPath: '$.process.apparmorProfile' },
  });
  expect(refusal(() => execLabels({ selinuxLabel: 'a:b:c:s0' }, NONE))).toMatchObject({
    code: 'HOST_UNSUPPORTED',
    details: { jsonPath: '$.process.selinuxLabel' },
  });
  expect(execLabels({ apparmorProfile: 'unconfined' }, NONE)).toEqual([]);
});

test.each([
  ['on a host without SELinux', NONE, 'HOST_UNSUPPORTED'],
  ['that the policy does not have', BOTH, 'SPEC_INVALID'],
])('of SELinux %s are refused, those of mounts too', (_, host, code) => {
  expect(refusal(() => execLabels({ selinuxLabel: 'x' }, host))).toMatchObject({
    code,
    details: { jsonPath: '$.process.selinuxLabel' },
  });
  expect(refusal(() => checkMountLabel({ linux: { mountLabel: 'x' } }, host))).toMatchObject({
    code,
    details: { jsonPath: '$.linux.mountLabel' },
  });
});

test('of mounts are taken where the host can give them', () => {
  expect(() => checkMountLabel({ linux: { mountLabel: 'a:b:c:s0' } }, BOTH)).not.toThrow();
  expect(() => checkMountLabel({ linux: { mountLabel: '' } }, NONE)).not.toThrow();
});
