import { constants, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { refusal, refusalOf } from '../../errors/testing/refusal';
import { C, ProgramBuilder } from '../../syscall';
import { Stdio, type StdioRequest } from './index';
import { END, Ends, kernel, look, NOTHING_YET, PIPE_SIZE, readBytes, readToEnd } from './testing';

let ends: Ends;
let opened: Stdio[];
beforeEach(() => {
  ends = new Ends();
  opened = [];
});
afterEach(() => {
  for (const stdio of opened) stdio.dispose();
  ends.clear();
});

const openFds = (): string[] => readdirSync('/proc/self/fd');

async function open(request: Partial<StdioRequest>): Promise<Stdio> {
  const full = { stdin: '', stdout: '', stderr: '', terminal: false, id: 'web', namespace: 'k8s.io', ...request };
  const stdio = await Stdio.open(kernel, full);
  opened.push(stdio);
  return stdio;
}

/** A new pty as a container's program sends it: the master, and a slave that the program has. */
function pty(): { master: number; slave: number } {
  const master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  const p = new ProgramBuilder();
  const slave = p.slot('slave');
  p.call('ioctl', [master, C.TIOCSPTLCK, p.space(4)]);
  p.call('ioctl', [master, C.TIOCGPTPEER, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK], {
    out: slave,
  });
  return { master, slave: ends.keep(kernel.run(p.build()).get(slave)) };
}

/** Rows and columns as the terminal has them. */
function sizeOf(slave: number): number[] {
  const p = new ProgramBuilder();
  const size = p.space(8);
  p.call('ioctl', [slave, C.TIOCGWINSZ, size]);
  const at = kernel.run(p.build()).at(size);
  return [at.readUInt16LE(0), at.readUInt16LE(2)];
}

describe('without a terminal', () => {
  test('nothing asked for is /dev/null', async () => {
    const { stdin, stdout, stderr } = (await open({})).donate();
    expect(readFileSync(stdin!, 'latin1')).toBe('');
    writeSync(stdout!, 'nowhere');
    writeSync(stderr!, 'nowhere');
  });

  test('fifos go to the process directly, and end when it has ended and all is read', async () => {
    const [stdin, stdout, stderr] = ['in', 'out', 'err'].map((name) => ends.fifo(name));
    const stdio = await open({ stdin: stdin!, stdout: stdout!, stderr: `fifo://${stderr!}` });
    const donated = stdio.donate();
    const client = ends.writer(stdin!);
    writeSync(client, 'input');
    const buffer = Buffer.alloc(16);
    expect(look(donated['stdin']!)).toBe('input');
    writeSync(donated['stdout']!, 'to stdout');
    writeSync(donated['stderr']!, 'to stderr');
    const readers = [stdout!, stderr!].map((path) => ends.reader(path));
    stdio.closeDonated();
    expect(readers.map((fd) => look(fd, buffer.length))).toEqual(['to stdout', 'to stderr']);
    expect(readers.map((fd) => look(fd))).toEqual([NOTHING_YET, NOTHING_YET]);
    stdio.finish();
    expect(readers.map((fd) => look(fd))).toEqual([END, END]);
  });

  test('what nobody has read when the process ends stays for a reader that comes later', async () => {
    const stdout = ends.fifo('out');
    const stdio = await open({ stdout });
    writeSync(stdio.donate()['stdout']!, 'last words');
    stdio.closeDonated();
    stdio.finish();
    stdio.dispose();
    expect(await readToEnd(ends.reader(stdout))).toBe('last words');
  });

  test('files are appended to, and made if need be', async () => {
    const path = ends.path('log');
    writeFileSync(path, 'before\n');
    const other = ends.path('other');
    const { stdout, stderr } = (await open({ stdout: `file://${path}`, stderr: other })).donate();
    writeSync(stdout!, 'after\n');
    writeSync(stderr!, 'new\n');
    expect([readFileSync(path, 'latin1'), readFileSync(other, 'latin1')]).toEqual(['before\nafter\n', 'new\n']);
  });

  test('directories of files are made, names are decoded, and a plain path is taken as it is', async () => {
    const { stdout, stderr } = (
      await open({ stdout: `file://${ends.path('deep/down/a%20log')}?x=1`, stderr: ends.path('odd?name%20') })
    ).donate();
    writeSync(stdout!, 'one');
    writeSync(stderr!, 'two');
    expect(readFileSync(ends.path('deep/down/a log'), 'latin1')).toBe('one');
    expect(readFileSync(ends.path('odd?name%20'), 'latin1')).toBe('two');
  });

  test('a scheme that silt does not have is refused, and nothing is written to its path', async () => {
    const stdin = ends.fifo('in');
    const before = openFds();
    const uri = `npipe://${ends.path('x')}`;
    const refused = {
      code: 'REQUEST_INVALID',
      message: `unknown STDIO scheme npipe in ${uri}; there are fifo, file, binary`,
      details: { path: uri },
    };
    expect(await refusalOf(open({ stdin, stdout: uri }))).toEqual(refused);
    const stdio = await open({ stderr: uri });
    expect(refusal(() => stdio.donate())).toEqual(refused);
    stdio.dispose();
    expect(openFds()).toEqual(before);
    expect(readdirSync(ends.path('.'))).toEqual(['in']);
  });

  test('CloseIO ends the input once the client has closed its end', async () => {
    const stdin = ends.fifo('in');
    const stdio = await open({ stdin });
    const reader = ends.keep(openSync(stdin, constants.O_RDONLY | constants.O_NONBLOCK));
    expect(look(reader)).toEqual(NOTHING_YET);
    stdio.closeStdin();
    expect(look(reader)).toEqual(END);
  });

  test('it cannot be resized', async () => {
    const stdio = await open({});
    expect(refusal(() => stdio.resize(80, 24))).toEqual({
      code: 'WRONG_STATE',
      message: 'cannot resize: the process has no terminal',
      details: {},
    });
  });

  test('a stdin that is not there is refused by name, and nothing stays open', async () => {
    const before = openFds();
    const path = ends.path('none');
    expect(await refusalOf(open({ stdin: path }))).toEqual({
      code: 'REQUEST_INVALID',
      message: `cannot open ${path} as stdin: ENOENT: no such file or directory, open '${path}'`,
      details: { path },
    });
    expect(openFds()).toEqual(before);
  });

  test('a stdout that cannot be made is refused by name, and nothing stays open', async () => {
    const before = openFds();
    const path = ends.path('none/out');
    const stdio = await open({ stdin: ends.fifo('in'), stdout: ends.fifo('out'), stderr: path });
    expect(refusal(() => stdio.donate())).toMatchObject({ code: 'REQUEST_INVALID', details: { path } });
    stdio.dispose();
    expect(openFds()).toEqual(before);
  });

  test('disposed, it has let go of everything', async () => {
    const before = openFds();
    const stdio = await open({ stdin: ends.fifo('in'), stdout: ends.fifo('out'), stderr: ends.fifo('err') });
    stdio.donate();
    stdio.dispose();
    stdio.dispose();
    expect(openFds()).toEqual(before);
  });
});

describe('with a terminal', () => {
  test('nothing is donated', async () => {
    expect((await open({ terminal: true, stdout: ends.fifo('out') })).donate()).toEqual({});
  });

  test('both directions are copied until the process has ended', async () => {
    const [stdin, stdout] = [ends.fifo('in'), ends.fifo('out')];
    const stdio = await open({ terminal: true, stdin, stdout });
    const reader = ends.reader(stdout);
    const { master, slave } = pty();
    stdio.attachTerminal(master);
    writeSync(slave, 'prompt> ');
    expect(await readBytes(reader, 8)).toBe('prompt> ');
    writeSync(ends.writer(stdin), 'typed\n');
    // The terminal echoes, and gives the line to its process.
    expect(await readBytes(reader, 7)).toBe('typed\r\n');
    expect(look(slave)).toBe('typed\n');
    writeSync(slave, 'bye');
    ends.close(slave);
    stdio.finish();
    expect(await readToEnd(reader)).toBe('bye');
  });

  test('what a slow reader has not taken when the process ends is not lost', async () => {
    const stdout = ends.fifo('out');
    const stdio = await open({ terminal: true, stdout });
    const reader = ends.reader(stdout);
    const { master, slave } = pty();
    stdio.attachTerminal(master);
    // More than the fifo holds; the rest is with the pump and in the terminal.
    let written = 0;
    for (let blocked = 0; blocked < 20;) {
      try {
        written += writeSync(slave, 'x'.repeat(100));
      } catch {
        blocked++;
        await sleep(1);
      }
    }
    expect(written).toBeGreaterThan(PIPE_SIZE);
    ends.close(slave);
    stdio.finish();
    stdio.dispose();
    expect((await readToEnd(reader)).length).toBe(written);
  });

  test('its size is set as soon as there is one, and whenever it changes', async () => {
    const stdio = await open({ terminal: true, stdout: ends.fifo('out') });
    stdio.resize(132, 43);
    const { master, slave } = pty();
    stdio.attachTerminal(master);
    expect(sizeOf(slave)).toEqual([43, 132]);
    stdio.resize(80, 24);
    expect(sizeOf(slave)).toEqual([24, 80]);
  });

  test('what is no pty’s master is refused and closed', async () => {
    const stdio = await open({ terminal: true, stdout: ends.fifo('out') });
    const before = openFds();
    const message = 'the terminal that the container opened is not a pty: its /dev/ptmx has been replaced';
    for (const path of ['/dev/null', ends.path('.')]) {
      expect(refusal(() => stdio.attachTerminal(openSync(path, 'r')))).toMatchObject({ code: 'INTERNAL', message });
    }
    expect(openFds()).toEqual(before);
  });

  test('all of it is closed in the end', async () => {
    const before = openFds();
    const stdio = await open({ terminal: true, stdin: ends.fifo('in'), stdout: ends.fifo('out') });
    const { master, slave } = pty();
    stdio.attachTerminal(master);
    ends.close(slave);
    stdio.finish();
    stdio.dispose();
    expect(openFds()).toEqual(before);
  });
});

describe('with a logging program', () => {
  const script = (body: string): string => {
    const path = ends.path('logger');
    writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return path;
  };
  /** Says that it is ready, and writes what comes to two files. */
  const writing = (): string =>
    script(`exec 5>&-; echo "$CONTAINER_NAMESPACE $CONTAINER_ID $*" > ${ends.path('called')}
cat <&4 > ${ends.path('err')} & cat <&3 > ${ends.path('out')}; wait; touch ${ends.path('done')}`);

  async function untilDone(): Promise<void> {
    const name = ends.path('done').split('/').at(-1)!;
    for (let round = 0; round < 400 && !readdirSync(ends.path('.')).includes(name); round++) await sleep(5);
    expect(readdirSync(ends.path('.'))).toContain(name);
  }
  const textOf = (name: string): string => readFileSync(ends.path(name), 'latin1');

  test('it gets the container’s output on fds of its own, and its end', async () => {
    const stdio = await open({ stdout: `binary://${writing()}?key=value&flag=`, stderr: 'ignored' });
    const { stdout, stderr } = stdio.donate();
    writeSync(stdout!, 'to stdout');
    writeSync(stderr!, 'to stderr');
    stdio.closeDonated();
    await untilDone();
    expect([textOf('out'), textOf('err')]).toEqual(['to stdout', 'to stderr']);
    expect(textOf('called')).toBe('k8s.io web key value flag\n');
  });

  test('it gets what a terminal shows', async () => {
    const stdio = await open({ terminal: true, stdout: `binary://${writing()}` });
    const { master, slave } = pty();
    stdio.attachTerminal(master);
    // The process has been created: what was donated to it is closed. A new file takes the first number that is free.
    stdio.closeDonated();
    const decoys = [0, 1, 2, 3].map((i) => ends.keep(openSync(ends.path(`decoy${i}`), 'w')));
    writeSync(slave, 'shown');
    for (let round = 0; round < 200 && !readdirSync(ends.path('.')).includes('out'); round++) await sleep(5);
    ends.close(slave);
    stdio.finish();
    stdio.dispose();
    await untilDone();
    expect(textOf('out')).toBe('shown');
    expect(decoys.map((_, i) => textOf(`decoy${i}`))).toEqual(['', '', '', '']);
  });

  test('that is not there is refused by name, and leaves nothing behind', async () => {
    const before = openFds();
    expect(await refusalOf(open({ stdout: 'binary:///nonexistent/logger' }))).toEqual({
      code: 'REQUEST_INVALID',
      message: 'cannot start the logging program /nonexistent/logger: spawn /nonexistent/logger ENOENT',
      details: { path: '/nonexistent/logger' },
    });
    expect(openFds()).toEqual(before);
    // The numbers that were in use can be watched anew.
    const pipes = [0, 1, 2, 3].flatMap(() => kernel.pipe().map((fd) => ends.keep(fd)));
    for (const fd of pipes) kernel.watch(fd, 1, () => undefined).close();
  });

  test('that ends before it is ready does as if it were: its pipe has ended', async () => {
    const stdio = await open({ stdout: `binary://${script('exit 3')}` });
    expect(Object.keys(stdio.donate())).toEqual(['stdin', 'stdout', 'stderr']);
  });
});
