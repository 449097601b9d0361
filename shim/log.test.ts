import { setTimeout as sleep } from 'node:timers/promises';
import { type Level, openLog } from './log';
import { END, Ends, fill, look, NOTHING_YET, PIPE_SIZE } from './stdio/testing';

let ends: Ends;
let path: string;
beforeEach(() => {
  ends = new Ends();
  path = ends.fifo('log');
});
afterEach(() => ends.clear());

/** What lies in the fifo now that winston, which writes in steps of its own, has had its turn. */
async function written(reader: number): Promise<ReturnType<typeof look>> {
  for (let round = 0; round < 20; round++) await new Promise(setImmediate);
  return look(reader);
}

async function lines(reader: number): Promise<Record<string, unknown>[]> {
  const text = await written(reader);
  if (typeof text !== 'string') return [];
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a line is an object with level, message, time, and the fields of the log and of the line', async () => {
  const reader = ends.reader(path);
  const log = openLog(path, 'info', { runtime: 'silt', pod: 'web' });
  log.warn('something "odd"', { error: 'EIO', count: 2 });
  log.info('all is well');
  expect(await lines(reader)).toEqual([
    {
      level: 'warn',
      message: 'something "odd"',
      runtime: 'silt',
      pod: 'web',
      error: 'EIO',
      count: 2,
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    },
    expect.objectContaining({ level: 'info', message: 'all is well' }) as Record<string, unknown>,
  ]);
});

test.each<[Level, Level[]]>([
  ['error', ['error']],
  ['warn', ['error', 'warn']],
  ['info', ['error', 'warn', 'info']],
  ['debug', ['error', 'warn', 'info', 'debug']],
])('at the level %s it has lines of %j', async (level, expected) => {
  const reader = ends.reader(path);
  const log = openLog(path, level, {});
  for (const each of ['debug', 'info', 'warn', 'error'] as const) log[each](each);
  expect((await lines(reader)).map((line) => line['level'])).toEqual([...expected].reverse());
});

test('nothing is opened before the first line, and nobody who waits for the log is ended by it', async () => {
  const reader = ends.reader(path);
  const log = openLog(path, 'info', {});
  log.debug('not worth a line');
  expect(look(reader)).toEqual(END);
  log.info('the first');
  expect(await lines(reader)).toHaveLength(1);
  expect(look(reader)).toEqual(NOTHING_YET);
});

test('without a reader lines are kept as far as the fifo holds them', async () => {
  const log = openLog(path, 'info', {});
  log.info('early');
  await sleep(1);
  expect(await lines(ends.reader(path))).toEqual([expect.objectContaining({ message: 'early' })]);
});

test('a full fifo costs lines and never time', async () => {
  const reader = ends.reader(path);
  expect(fill(ends.writer(path))).toBe(PIPE_SIZE);
  const log = openLog(path, 'info', {});
  const start = performance.now();
  for (let i = 0; i < 100; i++) log.info(`lost ${i}`);
  expect(await written(reader)).toBe('x'.repeat(PIPE_SIZE));
  expect(performance.now() - start).toBeLessThan(2000);
  log.info('kept');
  expect(await lines(reader)).toEqual([expect.objectContaining({ message: 'kept' })]);
});

test('a reader that goes away is no error', async () => {
  const reader = ends.reader(path);
  const log = openLog(path, 'info', {});
  log.info('heard');
  expect(await lines(reader)).toHaveLength(1);
  ends.close(reader);
  log.info('unheard');
  expect(await lines(ends.reader(path))).toEqual([expect.objectContaining({ message: 'unheard' })]);
});

test('a fifo that is not there is no error', async () => {
  const log = openLog(ends.path('none'), 'info', {});
  log.error('nowhere to go');
  await sleep(1);
  expect(look(ends.reader(path))).toEqual(END);
});
