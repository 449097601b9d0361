import { parseSpec } from '../check';
import { document, failureOf, type Json, NAMESPACES, refusal } from '../check.fixture';
import { sysctlPath } from './sysctl';

describe('sysctls', () => {
  const withSysctl = (key: string, types: readonly string[]): Json =>
    document({
      linux: {
        namespaces: types.map((type) => ({ type })),
        uidMappings: undefined,
        gidMappings: undefined,
        sysctl: { [key]: '1' },
      },
    });

  test.each([
    ['net.ipv4.ip_forward', 'network'],
    ['net/ipv4/conf/eno2.100/rp_filter', 'network'],
    ['kernel.sem', 'ipc'],
    ['fs.mqueue.msg_max', 'ipc'],
    ['kernel.domainname', 'uts'],
  ])('%s goes with the %s namespace', (key, type) => {
    expect(parseSpec(JSON.stringify(withSysctl(key, ['mount', type])), 'x').linux?.sysctl).toEqual({ [key]: '1' });
    const error = refusal(withSysctl(key, ['mount']));
    expect(error.code).toBe('SPEC_INVALID');
    expect(error.message).toContain(`the ${type} namespace`);
  });

  test.each([
    'kernel.core_pattern',
    'kernel.hostname',
    'vm.swappiness',
    'net',
    'net..core',
    'net/../kernel/core_pattern',
    'net.//.x',
    'kernel.sem.x',
    '',
  ])('%j is refused', (key) => {
    expect(refusal(withSysctl(key, ['mount', 'network', 'ipc', 'uts'])).code).toBe('SPEC_INVALID');
  });

  test('of the network are refused when the namespace to join is the host’s', () => {
    const spec = document({
      linux: {
        namespaces: [
          ...NAMESPACES.filter(({ type }) => type !== 'network'),
          { type: 'network', path: '/proc/1/ns/net' },
        ],
        sysctl: { 'net.core.somaxconn': '1' },
      },
    });
    const isHostNetwork = (path: string): boolean => path === '/proc/1/ns/net';
    expect(parseSpec(JSON.stringify(spec), 'x').linux?.sysctl).toBeDefined();
    expect(failureOf(() => parseSpec(JSON.stringify(spec), 'x', { isHostNetwork })).details).toEqual({
      jsonPath: '$.linux.sysctl["net.core.somaxconn"]',
    });
  });

  test('have a file', () => {
    expect(sysctlPath('net.ipv4.ip_forward')).toBe('/proc/sys/net/ipv4/ip_forward');
    expect(sysctlPath('net/ipv4/conf/eno2.100/rp_filter')).toBe('/proc/sys/net/ipv4/conf/eno2.100/rp_filter');
    expect(sysctlPath('net.ipv4.conf.eno2/100.rp_filter')).toBe('/proc/sys/net/ipv4/conf/eno2.100/rp_filter');
  });
});
