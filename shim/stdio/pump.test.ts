import { constants, openSync, readFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { C, ProgramBuilder } from '../../syscall';
import { Pump } from '../../sandbox';
import { Ends, fill, isNonBlocking, kernel, look, NOTHING_YET, PIPE_SIZE, readBytes } from './testing';

let ends: Ends;
let pumps: Pump[];
beforeEach(() => {
  ends = new Ends();
  pumps = [];
});
afterEach(() => {
  for (const pump of pumps) pump.stop();
  ends.clear();
});

const pipe = (): [number, number] => {
  const [readEnd, writeEnd] = kernel.pipe();
  return [ends.keep(readEnd), ends.keep(writeEnd)];
};

/** A pump between two pipes: what goes into `source` comes out at `sink`. The source and the sink never wait. */
function pumped() {
  const [from, source] = pipe();
  const [sink, to] = pipe();
  let finish = (): void => undefined;
  const ended = new Promise<void>((resolve) => (finish = resolve));
  const onEnd = jest.fn(() => finish());
  const pump = new Pump(kernel, from, to, onEnd);
  pumps.push(pump);
  for (const fd of [source, sink]) makeNonBlocking(fd);
  // Otherwise a test with a full pipe would block for good.
  expect([isNonBlocking(from), isNonBlocking(to)]).toEqual([true, true]);
  return { pump, source, sink, from, to, onEnd, ended };
}

function makeNonBlocking(fd: number): void {
  const p = new ProgramBuilder();
  p.call('fcntl', [fd, C.F_SETFL, constants.O_NONBLOCK]);
  kernel.run(p.build());
}

/** A text in which every place can be told from the others. */
const numbered = (size: number): string =>
  Array.from({ length: Math.ceil(size / 8) }, (_, i) => i.toString(36).padStart(8, '.'))
    .join('')
    .slice(0, size);

/** Writes a text as the pipe takes it. */
async function writeAll(fd: number, text: string): Promise<void> {
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await sleep(1);
    }
  }
}

test('what goes in comes out', async () => {
  const { source, sink, onEnd } = pumped();
  writeSync(source, 'hello');
  expect(await readBytes(sink, 5)).toBe('hello');
  writeSync(source, ' again');
  expect(await readBytes(sink, 6)).toBe(' again');
  expect(onEnd).not.toHaveBeenCalled();
});

test('a reader that lags behind loses nothing, and holds up nobody but the writer', async () => {
  const { source, sink } = pumped();
  const text = numbered(5 * PIPE_SIZE);
  let written = false;
  const writing = writeAll(source, text).then(() => {
    written = true;
  });
  await sleep(30);
  // A pipe on each side and what the pump holds is full; the rest waits at the writer.
  expect(written).toBe(false);
  // By pieces that leave room for a part of what the pump holds.
  expect(await readBytes(sink, text.length, 10_000)).toBe(text);
  await writing;
  expect(look(sink)).toEqual(NOTHING_YET);
});

test('at the end of the input the pump ends, once, when all has been written', async () => {
  const { source, sink, onEnd, ended, to } = pumped();
  const text = numbered(3 * PIPE_SIZE);
  const writing = writeAll(source, text).then(() => ends.close(source));
  await sleep(10);
  expect(onEnd).not.toHaveBeenCalled();
  const reading = readBytes(sink, text.length);
  await writing;
  expect(await reading).toBe(text);
  await ended;
  expect(onEnd).toHaveBeenCalledTimes(1);
  // Both fds are the owner's to close.
  ends.close(to);
  expect(look(sink)).toEqual({ is: 'end' });
});

test('a reader that is gone for good ends the pump', async () => {
  const { source, sink, ended } = pumped();
  ends.close(sink);
  writeSync(source, 'nobody hears this');
  await ended;
});

test('a reader that goes while the pump waits for it ends it too', async () => {
  const { source, sink, ended } = pumped();
  const writing = writeAll(source, numbered(PIPE_SIZE + 5000));
  await writing;
  await sleep(10);
  ends.close(sink);
  await ended;
});

test('stopped, it takes nothing more', async () => {
  const { pump, source, sink, onEnd } = pumped();
  pump.stop();
  pump.stop();
  writeSync(source, 'too late');
  await sleep(20);
  expect(look(sink)).toEqual(NOTHING_YET);
  expect(onEnd).not.toHaveBeenCalled();
});

test('stopped while it waits for the reader, it gives nothing more', async () => {
  const { pump, source, sink } = pumped();
  await writeAll(source, numbered(PIPE_SIZE + 100));
  await sleep(10);
  pump.stop();
  await readBytes(sink, PIPE_SIZE);
  await sleep(20);
  expect(look(sink)).toEqual(NOTHING_YET);
});

describe('finished', () => {
  test('it copies what is there and ends at once, although the writer could go on', () => {
    const { pump, source, sink, onEnd } = pumped();
    writeSync(source, 'the rest');
    const onFinished = jest.fn();
    pump.finish(onFinished);
    expect([look(sink), onFinished.mock.calls.length, onEnd.mock.calls.length]).toEqual(['the rest', 1, 0]);
    writeSync(source, 'more');
    expect(look(sink)).toEqual(NOTHING_YET);
  });

  test('it waits for a reader that lags behind', async () => {
    const { pump, source, sink } = pumped();
    const text = numbered(2 * PIPE_SIZE + 1000);
    await writeAll(source, text);
    const onFinished = jest.fn();
    pump.finish(onFinished);
    await sleep(10);
    expect(onFinished).not.toHaveBeenCalled();
    expect(await readBytes(sink, text.length)).toBe(text);
    for (let round = 0; round < 200 && onFinished.mock.calls.length === 0; round++) await sleep(5);
    expect(onFinished).toHaveBeenCalledTimes(1);
  });

  test('it is done at once when it has ended before', async () => {
    const { pump, source, ended, onEnd } = pumped();
    ends.close(source);
    await ended;
    const onFinished = jest.fn();
    pump.finish(onFinished);
    expect([onFinished.mock.calls.length, onEnd.mock.calls.length]).toEqual([1, 1]);
  });
});

test('a file takes everything', async () => {
  const path = ends.path('log');
  const file = ends.keep(openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND));
  const [from, source] = pipe();
  pumps.push(new Pump(kernel, from, file, () => undefined));
  const text = numbered(3 * PIPE_SIZE);
  makeNonBlocking(source);
  await writeAll(source, text);
  for (let round = 0; round < 200 && readFileSync(path).length < text.length; round++) await sleep(5);
  expect(readFileSync(path, 'latin1')).toBe(text);
});

describe('a pty', () => {
  /** A new pty: its master and an open slave. */
  function pty(): { master: number; slave: number } {
    const master = ends.keep(openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY));
    const p = new ProgramBuilder();
    const slave = p.slot('slave');
    p.call('ioctl', [master, C.TIOCSPTLCK, p.space(4)]);
    p.call('ioctl', [master, C.TIOCGPTPEER, constants.O_RDWR | constants.O_NOCTTY], { out: slave });
    return { master, slave: ends.keep(kernel.run(p.build()).get(slave)) };
  }

  test('gives what its slave has written, and ends when the last slave is closed', async () => {
    const { master, slave } = pty();
    const [sink, to] = pipe();
    makeNonBlocking(sink);
    let finish = (): void => undefined;
    const ended = new Promise<void>((resolve) => (finish = resolve));
    pumps.push(new Pump(kernel, master, to, finish));
    writeSync(slave, 'a line\n');
    expect(await readBytes(sink, 8)).toBe('a line\r\n');
    writeSync(slave, 'last words');
    ends.close(slave);
    await ended;
    expect(look(sink)).toBe('last words');
  });

  test('finished, has been read to the end', () => {
    const { master, slave } = pty();
    const [sink, to] = pipe();
    makeNonBlocking(sink);
    const [onEnd, onFinished] = [jest.fn(), jest.fn()];
    const pump = new Pump(kernel, master, to, onEnd);
    pumps.push(pump);
    writeSync(slave, 'in haste');
    ends.close(slave);
    pump.finish(onFinished);
    expect(look(sink)).toBe('in haste');
    expect([onEnd, onFinished].map((one) => one.mock.calls.length)).toEqual([0, 1]);
  });
});

test('a full pipe holds what PIPE_SIZE says', () => {
  const [, writer] = pipe();
  makeNonBlocking(writer);
  expect(fill(writer)).toBe(PIPE_SIZE);
});

test('held, it copies nothing, and has all that was written and not given on', async () => {
  const { pump, source, sink } = pumped();
  const text = numbered(2 * PIPE_SIZE + 1000);
  await writeAll(source, text);
  await sleep(10);
  const held = pump.hold().toString('latin1');
  expect(await readBytes(sink, text.length - held.length)).toBe(text.slice(0, text.length - held.length));
  expect(held).toBe(text.slice(text.length - held.length));
  await sleep(10);
  expect(look(sink)).toEqual(NOTHING_YET);
  pump.release('copy');
  writeSync(source, 'more');
  expect(await readBytes(sink, held.length + 4)).toBe(`${held}more`);
});

test('what was held can be left out, also at the end', async () => {
  const { pump, source, sink } = pumped();
  pump.hold();
  writeSync(source, 'somebody else has this');
  expect(pump.hold().toString()).toBe('somebody else has this');
  const finished = new Promise<void>((resolve) => pump.finish(resolve));
  ends.close(source);
  await sleep(10);
  pump.release('drop');
  await finished;
  expect(look(sink)).toEqual(NOTHING_YET);
});

test('what it is given comes first', async () => {
  const [from, source] = pipe();
  const [sink, to] = pipe();
  const before = numbered(PIPE_SIZE + 500);
  pumps.push(new Pump(kernel, from, to, () => undefined, Buffer.from(before, 'latin1')));
  makeNonBlocking(sink);
  writeSync(source, 'and then this');
  expect(await readBytes(sink, before.length + 13)).toBe(`${before}and then this`);
});
