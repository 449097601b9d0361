import { parseConfig } from './config';
import { refusal } from '../../errors/testing/refusal';
import { withFlagAnnotations } from './flag-annotations';

const base = parseConfig('', 'none');
const free = { ...base, allowFlagOverride: true };

describe('annotations for flags', () => {
  test('change the configuration of one container', () => {
    expect(withFlagAnnotations(free, { 'dev.gvisor.flag.overlay2': 'all:self' })).toEqual({
      ...free,
      overlay: { scope: 'all', medium: { kind: 'self' } },
    });
    expect(withFlagAnnotations(free, { 'dev.gvisor.flag.overlay': 'true' }).overlay).toEqual({
      scope: 'all',
      medium: { kind: 'memory' },
    });
    expect(withFlagAnnotations(free, { 'dev.gvisor.flag.overlay': 'false', other: 'x' })).toEqual(free);
    expect(withFlagAnnotations(free, { 'dev.gvisor.flag.file-access': 'shared' })).toEqual(free);
  });

  test('are allowed by name', () => {
    const some = { ...base, allowFlagOverride: ['overlay2'] };
    expect(withFlagAnnotations(some, { 'dev.gvisor.flag.overlay2': 'none' }).overlay).toEqual({ scope: 'none' });
    expect(refusal(() => withFlagAnnotations(some, { 'dev.gvisor.flag.overlay': 'true' }))).toEqual({
      code: 'FLAG_REFUSED',
      message:
        'the annotation dev.gvisor.flag.overlay is not allowed here; list "overlay" in allow-flag-override of silt\'s configuration',
      details: { jsonPath: '$.annotations' },
    });
  });

  test.each<[Record<string, string>, string, RegExp]>([
    [
      { 'dev.gvisor.flag.overlay2': 'disk' },
      'SPEC_INVALID',
      /^the annotation dev.gvisor.flag.overlay2 must be none, or/,
    ],
    [{ 'dev.gvisor.flag.file-access': 'x' }, 'SPEC_INVALID', /must be exclusive or shared; it is "x"$/],
    [
      { 'dev.gvisor.flag.overlay': 'true', 'dev.gvisor.flag.overlay2': 'root:self' },
      'SPEC_INVALID',
      /^the annotation dev.gvisor.flag.overlay stands for .*; give one of the two$/,
    ],
    [
      { 'dev.gvisor.flag.platform': 'kvm' },
      'SPEC_UNSUPPORTED',
      /cannot be given; they can be given overlay2, overlay,/,
    ],
  ])('%j is refused', (annotations, code, message) => {
    expect(refusal(() => withFlagAnnotations(free, annotations))).toEqual(
      expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
    );
  });

  test('are refused unless the operator allows them', () => {
    expect(refusal(() => withFlagAnnotations(base, { 'dev.gvisor.flag.overlay2': 'none' }))).toEqual(
      expect.objectContaining({ code: 'FLAG_REFUSED' }),
    );
  });
});
