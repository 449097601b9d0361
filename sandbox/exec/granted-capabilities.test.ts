import { capabilityMasks } from '../../oci';
import { grantedCapabilities } from './granted-capabilities';

const names = ['CAP_CHOWN', 'CAP_KILL', 'CAP_SYS_RESOURCE'];
const wanted = capabilityMasks({ bounding: names, effective: names, permitted: names, inheritable: ['CAP_KILL'] }, 40);

test('what silt has is granted', () => {
  const warn = jest.fn();
  expect(grantedCapabilities(wanted, (1n << 41n) - 1n, warn)).toEqual(wanted);
  expect(warn).not.toHaveBeenCalled();
});

test('what silt lacks is left out of every set, and told', () => {
  const warn = jest.fn();
  const rest = names.slice(0, 2);
  const own = capabilityMasks({ permitted: [...rest, 'CAP_FOWNER'] }, 40).permitted;
  expect(grantedCapabilities(wanted, own, warn)).toEqual(
    capabilityMasks({ bounding: rest, effective: rest, permitted: rest, inheritable: ['CAP_KILL'] }, 40),
  );
  expect(warn.mock.calls).toEqual([
    ['$.process.capabilities: left out CAP_SYS_RESOURCE, which this host does not give to silt either'],
  ]);
});
