import { refusal } from '../../errors/testing/refusal';
import { cpuFeatures, missingFeatures } from './features';

describe('CPU features', () => {
  test.each<[string, string, string[]]>([
    [
      'x86',
      'processor\t: 0\nflags\t\t: fpu vme de\nbugs\t\t: mds\n\nprocessor\t: 1\nflags\t\t: fpu de vme\n',
      ['fpu', 'vme', 'de'],
    ],
    ['aarch64', 'processor\t: 0\nFeatures\t: fp asimd\n', ['fp', 'asimd']],
    ['CPUs that differ', 'flags\t\t: fpu vme de\n\nflags\t\t: fpu de\n', ['fpu', 'de']],
  ])('of %s', (_, cpuinfo, features) => {
    expect(cpuFeatures(cpuinfo)).toEqual(features);
  });

  test('are an error where the kernel says none', () => {
    expect(refusal(() => cpuFeatures('processor: 0\n'))).toMatchObject({ code: 'HOST_UNSUPPORTED' });
  });

  test('that are missing are named', () => {
    expect(missingFeatures(['fpu', 'avx512f', 'sse', 'amx_tile'], ['sse', 'fpu'])).toEqual(['avx512f', 'amx_tile']);
  });
});
