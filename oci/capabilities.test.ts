import { capabilityList, capabilityMasks, knownCapabilities, unknownCapabilities } from './capabilities';

const NONE = { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n };

test('missing sets are empty', () => {
  expect(capabilityMasks({}, 40)).toEqual(NONE);
});

test('bits are numbers of capabilities', () => {
  const names = ['CAP_CHOWN', 'CAP_SYS_ADMIN', 'CAP_CHECKPOINT_RESTORE'];
  const mask = 1n | (1n << 21n) | (1n << 40n);
  const masks = capabilityMasks({ bounding: names, effective: names, permitted: names }, 40);
  expect(masks).toEqual({ ...NONE, bounding: mask, effective: mask, permitted: mask });
  expect(capabilityList(mask)).toEqual([0, 21, 40]);
});

test('unknown names are left out and told', () => {
  const capabilities = { bounding: ['CAP_KILL', 'CAP_FOO', 'CAP_BPF'], ambient: ['CAP_FOO', 'cap_kill'] };
  expect(capabilityMasks(capabilities, 38)).toEqual({ ...NONE, bounding: 1n << 5n });
  expect(unknownCapabilities(capabilities, 38)).toEqual(['CAP_FOO', 'CAP_BPF', 'cap_kill']);
  expect(unknownCapabilities({ bounding: ['CAP_LAST_CAP'] }, 40)).toEqual(['CAP_LAST_CAP']);
});

test('what is ambient is permitted and inheritable', () => {
  const masks = capabilityMasks(
    { permitted: ['CAP_CHOWN', 'CAP_KILL'], inheritable: ['CAP_CHOWN'], ambient: ['CAP_CHOWN', 'CAP_KILL'] },
    40,
  );
  expect(masks.ambient).toBe(1n);
});

test('known names are in the order of their numbers', () => {
  expect(knownCapabilities().slice(0, 3)).toEqual(['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH']);
  expect(knownCapabilities().length).toBeGreaterThanOrEqual(41);
});
