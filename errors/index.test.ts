import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorTable, SiltError, Status, withContext } from './index';

test('docs/errors.md lists exactly the codes of the table, with their status', () => {
  const text = readFileSync(join(__dirname, '..', 'docs', 'errors.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` \| (\w+) \| (.+) \|$/gm)].map(([, code, status, meaning]) => ({
    code,
    status,
    meaning,
  }));
  expect(rows).toEqual(Object.entries(errorTable).map(([code, { status, meaning }]) => ({ code, status, meaning })));
});

test('an error has the status of its code', () => {
  expect(new SiltError('CONTAINER_NOT_FOUND', 'x').status).toBe(Status.NotFound);
});

test('context goes in front and the code stays', () => {
  const inner = new SiltError('NO_SPACE', 'disk full', { path: '/x' });
  const outer = withContext('writing', inner);
  expect(outer).toMatchObject({
    code: 'NO_SPACE',
    message: 'writing: disk full',
    details: { path: '/x' },
    cause: inner,
  });
});

test('what is no SiltError becomes INTERNAL with its cause', () => {
  const cause = new TypeError('boom');
  expect(withContext('planning', cause)).toMatchObject({ code: 'INTERNAL', message: 'planning: boom', cause });
});
