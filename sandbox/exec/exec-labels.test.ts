import { refusal } from '../../errors/testing/refusal';
import { execLabels } from './exec-labels';

const NONE = { securityModules: { apparmor: false, selinux: false } };
const BOTH = { securityModules: { apparmor: true, selinux: true } };

test('are what the security modules take', () => {
  const process = { apparmorProfile: 'docker-default', selinuxLabel: 'system_u:system_r:container_t:s0:c1,c2' };
  expect(execLabels(process, BOTH)).toEqual([
    { file: 'apparmor/exec', text: 'exec docker-default' },
    { file: 'exec', text: 'system_u:system_r:container_t:s0:c1,c2' },
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
