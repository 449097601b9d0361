import { readdirSync, readlinkSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InputFifo, OutputFifo } from './fifo';
import { END, Ends, fill, isNonBlocking, kernel, look, NOTHING_YET, PIPE_SIZE, readToEnd } from './testing';

let ends: Ends;
let path: string;
let fifos: { dispose(): void }[];
beforeEach(() => {
  ends = new Ends();
  path = ends.fifo('fifo');
  fifos = [];
});
afterEach(() => {
  for (const fifo of fifos) fifo.dispose();
  ends.clear();
});

const remember = <T extends { dispose(): void }>(fifo: T): T => {
  fifos.push(fifo);
  return fifo;
};
const output = (): OutputFifo => remember(new OutputFifo(kernel, path));
const input = (): InputFifo => remember(new InputFifo(kernel, path));
/** Fds on files of this test only: a stream of an earlier one is closed in the background. */
const openFds = (): string[] =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return dirname(readlinkSync(`/proc/self/fd/${fd}`)) === dirname(path);
    } catch {
      return false;
    }
  });

describe('an output fifo', () => {
  test('gives a writer before anybody reads, which blocks as a program expects of its stdout', () => {
    const writer = ends.keep(output().openWriter());
    writeSync(writer, 'hello');
    expect(isNonBlocking(writer)).toBe(false);
    expect(look(ends.reader(path))).toBe('hello');
  });

  test('keeps what is written while no reader is there, and ends no reader that comes and goes', () => {
    const fifo = output();
    const writer = ends.keep(fifo.openWriter());
    const first = ends.reader(path);
    writeSync(writer, 'one ');
    expect(look(first, 2)).toBe('on');
    ends.close(first);
    writeSync(writer, 'two ');
    const second = ends.reader(path);
    expect([look(second), look(second)]).toEqual(['e two ', NOTHING_YET]);
    ends.close(writer);
    // The process has gone; silt still holds the fifo.
    expect(look(second)).toEqual(NOTHING_YET);
  });

  test('ends its reader at once when it is released empty', () => {
    const fifo = output();
    const reader = ends.reader(path);
    fifo.release(1000);
    expect(look(reader)).toEqual(END);
    fifo.release(1000);
  });

  test('released with something unread, keeps it for a reader that comes later, and then ends it', async () => {
    const fifo = output();
    const writer = ends.keep(fifo.openWriter());
    writeSync(writer, 'last words');
    ends.close(writer);
    fifo.release(5000);
    await sleep(20);
    const reader = ends.reader(path);
    expect(look(reader)).toBe('last words');
    expect(await readToEnd(reader)).toBe('');
  });

  test('released with something unread, lets go of it after the time that it is given', async () => {
    const fifo = output();
    writeSync(ends.keep(fifo.openWriter()), 'never read');
    const before = openFds().length;
    fifo.release(10);
    expect(openFds()).toHaveLength(before);
    for (let round = 0; round < 200 && openFds().length === before; round++) await sleep(5);
    expect(openFds()).toHaveLength(before - 1);
  });

  test('disposed, lets go of all at once', () => {
    const before = openFds();
    const fifo = new OutputFifo(kernel, path);
    fifo.dispose();
    fifo.dispose();
    fifo.release(1000);
    expect(openFds()).toEqual(before);
  });

  test('may be opened for writing by any id of the container, and read by its owner only', () => {
    output();
    expect(statSync(path).mode & 0o777).toBe(0o622);
  });

  test('has the mode of a file that is none left alone', () => {
    const file = ends.path('file');
    writeFileSync(file, '', { mode: 0o600 });
    remember(new OutputFifo(kernel, file));
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('that is not there is an error and leaves nothing open', () => {
    const before = openFds();
    expect(() => new OutputFifo(kernel, ends.path('none'))).toThrow('ENOENT');
    expect(openFds()).toEqual(before);
  });
});

describe('an input fifo', () => {
  test('is not at its end before the first client has come', () => {
    const fifo = input();
    const reader = ends.keep(fifo.takeReader(true));
    expect(look(reader)).toEqual(NOTHING_YET);
    const client = ends.writer(path);
    writeSync(client, 'hello');
    expect(look(reader)).toBe('hello');
  });

  test('gives a reader that blocks as a program expects of its stdin, or not where that is asked for', () => {
    expect(isNonBlocking(ends.keep(input().takeReader()))).toBe(false);
    expect(isNonBlocking(ends.keep(input().takeReader(true)))).toBe(true);
  });

  test('ends by CloseIO once all has been read, and no sooner', () => {
    const fifo = input();
    const reader = ends.keep(fifo.takeReader(true));
    const client = ends.writer(path);
    writeSync(client, 'all of it');
    ends.close(client);
    fifo.closeWriter();
    fifo.closeWriter();
    expect([look(reader, 3), look(reader), look(reader)]).toEqual(['all', ' of it', END]);
  });

  test('goes on after CloseIO as long as a client is there', () => {
    const fifo = input();
    const reader = ends.keep(fifo.takeReader(true));
    const client = ends.writer(path);
    fifo.closeWriter();
    writeSync(client, 'late');
    expect([look(reader), look(reader)]).toEqual(['late', NOTHING_YET]);
    ends.close(client);
    expect(look(reader)).toEqual(END);
  });

  test('has ended when a client has closed its end before the process is started', () => {
    const fifo = input();
    const reader = ends.keep(fifo.takeReader(true));
    const client = ends.writer(path);
    writeSync(client, 'short');
    ends.close(client);
    expect([look(reader), look(reader)]).toEqual(['short', NOTHING_YET]);
    fifo.settle();
    expect(look(reader)).toEqual(END);
  });

  test('goes on through clients that come and go once the process is started', () => {
    const fifo = input();
    const reader = ends.keep(fifo.takeReader(true));
    const first = ends.writer(path);
    fifo.settle();
    ends.close(first);
    expect(look(reader)).toEqual(NOTHING_YET);
    const second = ends.writer(path);
    writeSync(second, 'again');
    ends.close(second);
    fifo.settle();
    expect([look(reader), look(reader)]).toEqual(['again', NOTHING_YET]);
    fifo.closeWriter();
    expect(look(reader)).toEqual(END);
  });

  test('is not ended by a reader of somebody else that comes and goes', () => {
    const fifo = input();
    const reader = ends.keep(fifo.takeReader(true));
    ends.close(ends.reader(path));
    fifo.settle();
    expect(look(reader)).toEqual(NOTHING_YET);
  });

  test('takes as much as a pipe holds without anybody reading', () => {
    const fifo = input();
    expect(fill(ends.writer(path))).toBe(PIPE_SIZE);
    fifo.dispose();
  });

  test('disposed at any time, leaves nothing open', () => {
    const before = openFds();
    const unused = new InputFifo(kernel, path);
    unused.dispose();
    unused.dispose();
    const settled = new InputFifo(kernel, path);
    settled.settle();
    settled.dispose();
    const taken = new InputFifo(kernel, path);
    const reader = ends.keep(taken.takeReader());
    taken.dispose();
    ends.close(reader);
    expect(openFds()).toEqual(before);
  });

  test('may be opened for reading by any id of the container', () => {
    input();
    expect(statSync(path).mode & 0o777).toBe(0o644);
  });

  test('that is not there is an error and leaves nothing open', () => {
    const before = openFds();
    expect(() => new InputFifo(kernel, ends.path('none'))).toThrow('ENOENT');
    expect(openFds()).toEqual(before);
  });
});
