import { SiltError } from '../../errors';
import { errorReport, MOST_BYTES } from './unpacker-report';

interface Said {
  readonly code: string;
  readonly message: string;
  readonly details: object;
}

function said(error: unknown): Said {
  const report = errorReport(error);
  expect(Buffer.byteLength(report)).toBeLessThanOrEqual(MOST_BYTES);
  return JSON.parse(report.replace(/^error /, '')) as Said;
}

describe('the report of a failure', () => {
  test('has all of an error', () => {
    expect(said(new SiltError('ARCHIVE_INVALID', 'bad', { path: 'a', offset: 512 }))).toEqual({
      code: 'ARCHIVE_INVALID',
      message: 'bad',
      details: { path: 'a', offset: 512 },
    });
  });

  // Three bytes each, six when escaped: counting characters would not do.
  test.each(['x', '→', '\u0001', '"'])('is cut to what fits when it is made of %j', (character) => {
    const { code, message, details } = said(new SiltError('NO_SPACE', character.repeat(20_000), { path: 'a' }));
    expect({ code, details }).toEqual({ code: 'NO_SPACE', details: {} });
    expect(message).toMatch(/^(.)\1{600,}…$/su);
  });

  test('of long details keeps the message', () => {
    expect(said(new SiltError('SYSCALL_FAILED', 'short', { path: 'p'.repeat(9000) }))).toMatchObject({
      message: 'short…',
      details: {},
    });
  });

  test('of something else says what it was', () => {
    expect(said(new TypeError('no function'))).toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('no function') as string,
    });
  });
});
