import { TtrpcError } from './status';
import { iterateQueue, MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, ReceiveQueue } from './stream';
import { collect, sleep } from './testing/wire';

const message = (text: string): Buffer => Buffer.from(text);

function newQueue(stallTimeoutMs = Infinity): { queue: ReceiveQueue; log: string[] } {
  const log: string[] = [];
  const queue = new ReceiveQueue({
    gate: { holdReads: () => log.push('hold'), releaseReads: () => log.push('release') },
    stallTimeoutMs,
    onStall: (error) => log.push(error.code),
  });
  return { queue, log };
}

test('messages come out in order, before or after they are asked for', async () => {
  const { queue } = newQueue();
  const early = [queue.take(), queue.take()];
  for (const text of ['a', 'b', 'c']) queue.push(message(text));
  expect(await Promise.all([...early, queue.take()])).toEqual([message('a'), message('b'), message('c')]);
});

test('the end comes after what is queued, and again and again', async () => {
  const { queue } = newQueue();
  queue.push(message('a'));
  queue.end();
  queue.push(message('too late'));
  expect(await queue.take()).toEqual(message('a'));
  expect(await queue.take()).toBeUndefined();
  expect(await queue.take()).toBeUndefined();
});

test('a failure comes after what is queued, an abort before', async () => {
  const failed = newQueue().queue;
  failed.push(message('a'));
  failed.fail(new TtrpcError('UNAVAILABLE', 'f'));
  expect(await failed.take()).toEqual(message('a'));
  await expect(failed.take()).rejects.toMatchObject({ code: 'UNAVAILABLE' });

  const aborted = newQueue().queue;
  aborted.push(message('a'));
  aborted.end();
  aborted.abort(new TtrpcError('CANCELLED', 'c'));
  await expect(aborted.take()).rejects.toMatchObject({ code: 'CANCELLED' });
});

test('end and failure reach those who wait', async () => {
  const ended = newQueue().queue;
  const end = ended.take();
  ended.end();
  expect(await end).toBeUndefined();

  const failed = newQueue().queue;
  const failure = expect(failed.take()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  failed.fail(new TtrpcError('UNAVAILABLE', 'f'));
  await failure;
});

test('reading is held when the queue is full of messages and released when there is room', async () => {
  const { queue, log } = newQueue();
  for (let count = 1; count < MAX_QUEUED_MESSAGES; count++) queue.push(message('m'));
  expect(log).toEqual([]);
  queue.push(message('m'));
  queue.push(message('one over'));
  expect(log).toEqual(['hold']);
  await queue.take();
  expect(log).toEqual(['hold']);
  await queue.take();
  expect(log).toEqual(['hold', 'release']);
});

test('reading is held when the queue is full of bytes', async () => {
  const { queue, log } = newQueue();
  queue.push(Buffer.alloc(MAX_QUEUED_BYTES - 1));
  expect(log).toEqual([]);
  queue.push(message('1'));
  expect(log).toEqual(['hold']);
  await queue.take();
  expect(log).toEqual(['hold', 'release']);
});

test.each(['end', 'fail', 'abort'] as const)('%s releases a held reading', (way) => {
  const { queue, log } = newQueue();
  queue.push(Buffer.alloc(MAX_QUEUED_BYTES));
  if (way === 'end') queue.end();
  else queue[way](new TtrpcError('CANCELLED', 'c'));
  expect(log).toEqual(['hold', 'release']);
});

test('a queue that stays full fails after the stall limit; one that was read in time does not', async () => {
  const stalled = newQueue(20);
  stalled.queue.push(Buffer.alloc(MAX_QUEUED_BYTES));
  const read = newQueue(20);
  read.queue.push(Buffer.alloc(MAX_QUEUED_BYTES));
  await read.queue.take();
  await sleep(60);
  expect(stalled.log).toEqual(['hold', 'release', 'STREAM_FULL']);
  expect((await stalled.queue.take())?.length).toBe(MAX_QUEUED_BYTES);
  await expect(stalled.queue.take()).rejects.toMatchObject({ code: 'STREAM_FULL' });
  expect(read.log).toEqual(['hold', 'release']);
  expect(read.queue.isFinished).toBe(false);
});

test('an iterator decodes, ends, and says when it is left early', async () => {
  const { queue } = newQueue();
  let left = 0;
  const iterable = {
    [Symbol.asyncIterator]: () => iterateQueue(queue, { decode: (bytes) => bytes.length, onReturn: () => left++ }),
  };
  for (const text of ['a', 'bb', 'ccc']) queue.push(message(text));
  for await (const length of iterable) {
    expect(length).toBe(1);
    break;
  }
  expect(left).toBe(1);
  queue.end();
  expect(await collect(iterable)).toEqual([2, 3]);
  expect(left).toBe(1);
});
