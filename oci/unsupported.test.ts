import { parseSpec } from './check';
import { document, type Json, NAMESPACES, refusal } from './check.fixture';
import { unsupportedFields } from './unsupported';

describe('what silt cannot do', () => {
  const VALUES: Readonly<Record<string, unknown>> = {
    'mounts[].options[]': [{ destination: '/a', type: 'tmpfs', options: ['ro'] }],
    'linux.namespaces[].type': NAMESPACES,
    'linux.seccomp.syscalls[].action': [{ names: ['mount'], action: 'SCMP_ACT_LOG' }],
  };

  /** A spec in which only this field is set. */
  function specWith(field: string, value: string | undefined): Json {
    const spec = structuredClone(
      document({
        mounts: [{ destination: '/a', type: 'tmpfs', options: ['ro'] }],
        linux: { seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: VALUES['linux.seccomp.syscalls[].action'] } },
      }),
    );
    const keys = field.replaceAll('[]', '.0').split('.');
    let at: Json = spec;
    for (const key of keys.slice(0, -1)) at = (at[key] ??= {}) as Json;
    at[keys.at(-1)!] = value ?? ['something'];
    return spec;
  }

  test.each(unsupportedFields.map(({ field, value }) => [field, value] as const))(
    '%s %s is refused by name',
    (field, value) => {
      const jsonPath = `$.${field.replaceAll('[]', '[0]')}`;
      const error = refusal(specWith(field, value));
      expect(error).toMatchObject({ code: 'SPEC_UNSUPPORTED', details: { jsonPath } });
      expect(error.message).toContain('is not supported: ');
    },
  );

  test('what is there and empty asks for nothing', () => {
    const spec = document({
      hooks: { prestart: [], poststop: null },
      windows: {},
      process: { apparmorProfile: '' },
      linux: { mountLabel: '', timeOffsets: {}, memoryPolicy: null },
    });
    expect(() => parseSpec(JSON.stringify(spec), 'x')).not.toThrow();
  });
});
