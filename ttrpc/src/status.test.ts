import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodes, messageOf, Status, statusOfError, TtrpcError } from './status';

test('each status number but OK has a code that comes back from the wire', () => {
  for (const [name, number] of Object.entries(Status)) {
    if (number === Status.Ok) continue;
    const error = TtrpcError.fromStatus({ code: number, message: 'm', details: [] });
    expect(error.status).toBe(number);
    expect(error.code.replaceAll('_', '').toLowerCase()).toBe(name.toLowerCase());
  }
  expect(new Set(Object.values(errorCodes)).size).toBe(16);
});

test.each([-1, 17, 4_000_000])('the status number %i of a peer becomes UNKNOWN', (code) => {
  expect(TtrpcError.fromStatus({ code, message: 'm', details: [] })).toMatchObject({ code: 'UNKNOWN', message: 'm' });
});

const detail = { typeUrl: 't', value: Buffer.from('v') };
const unreadable = {
  get status(): never {
    throw new Error('trap');
  },
};

test.each<[string, unknown, { code: number; message: string; details: unknown[] }]>([
  [
    'a TtrpcError',
    new TtrpcError('NOT_FOUND', 'gone', { details: [detail] }),
    { code: 5, message: 'gone', details: [detail] },
  ],
  ['a numeric status', Object.assign(new Error('m'), { status: 9, code: 'X' }), { code: 9, message: 'm', details: [] }],
  ['a numeric code', Object.assign(new Error('m'), { code: 7 }), { code: 7, message: 'm', details: [] }],
  ['status 0, which is no error', Object.assign(new Error('m'), { status: 0 }), { code: 2, message: 'm', details: [] }],
  ['an HTTP status', Object.assign(new Error('m'), { status: 404 }), { code: 2, message: 'm', details: [] }],
  ['a fraction', Object.assign(new Error('m'), { status: 5.5 }), { code: 2, message: 'm', details: [] }],
  [
    'a system error',
    Object.assign(new Error('ENOENT: x'), { code: 'ENOENT', errno: -2 }),
    { code: 2, message: 'ENOENT: x', details: [] },
  ],
  [
    'details of another kind',
    Object.assign(new Error('m'), { details: [{ id: 1 }, detail, null] }),
    { code: 2, message: 'm', details: [detail] },
  ],
  ['a string', 'plain', { code: 2, message: 'plain', details: [] }],
  ['undefined', undefined, { code: 2, message: 'undefined', details: [] }],
  ['an object without message', {}, { code: 2, message: 'the handler threw an object without a message', details: [] }],
  [
    'a getter that throws',
    unreadable,
    { code: 2, message: 'the handler threw a value that cannot be read: trap', details: [] },
  ],
])('what is answered for %s', (_name, error, status) => {
  expect(statusOfError(error)).toEqual(status);
});

test('messageOf gives the message alone', () => {
  expect(messageOf(new Error('why'))).toBe('why');
});

test('the cause is kept, and absent if none was given', () => {
  const cause = new Error('inner');
  expect(new TtrpcError('INTERNAL', 'm', { cause }).cause).toBe(cause);
  expect('cause' in new TtrpcError('INTERNAL', 'm')).toBe(false);
});

test('the README lists exactly these codes with their status', () => {
  const readme = readFileSync(join(__dirname, '../README.md'), 'utf8');
  const rows = [...readme.matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)].map(([, code, status]) => [code, Number(status)]);
  expect(rows).toEqual(Object.entries(errorCodes));
});
