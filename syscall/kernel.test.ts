import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { refusal, refusalOf } from '../errors/testing/refusal';
import { loadNative, openInterpreter } from '../native';
import { ProgramBuilder } from './builder';
import { fork, openat, read, sendMessage, write } from './calls';
import { C } from './constants';
import { Kernel, type Started } from './kernel';

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), interpreter);
afterAll(() => closeSync(interpreter));

const opened: number[] = [];
const keep = (fd: number): number => {
  opened.push(fd);
  return fd;
};
const pipe = (): [number, number] => {
  const [readEnd, writeEnd] = kernel.pipe();
  return [keep(readEnd), keep(writeEnd)];
};
const release = (fd: number): void => closeSync(opened.splice(opened.indexOf(fd), 1)[0]!);
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
});

const openFds = (): string[] => readdirSync('/proc/self/fd');

/** Waits until the kernel says that a process has ended, and reaps it. */
function ended(pidfd: number): Promise<ReturnType<Kernel['reap']>> {
  return new Promise((resolve) => {
    const watch = kernel.watch(pidfd, 1, () => {
      watch.close();
      resolve(kernel.reap(pidfd));
    });
  });
}

/** Blocks, event loop and all, until a process has ended. */
function waitWithoutReaping(pidfd: number): void {
  const p = new ProgramBuilder();
  p.call('waitid', [C.P_PIDFD, pidfd, p.space(128), C.WEXITED | C.WNOWAIT, 0], { retry: true });
  kernel.run(p.build());
}

/** A program that ends when the pipe that it is given ends; `body` comes before. */
function waiting(body: (p: ProgramBuilder) => void = () => undefined): { started: Started; finish: () => void } {
  const p = new ProgramBuilder();
  body(p);
  p.step('waiting');
  read(p, p.donated('control'), 1);
  const [readEnd, writeEnd] = pipe();
  const started = kernel.start(p.build(), { control: readEnd });
  keep(started.pidfd);
  release(readEnd);
  return { started, finish: () => release(writeEnd) };
}

describe('a program in this process', () => {
  test('gives slots and what its calls wrote', () => {
    const p = new ProgramBuilder();
    const pid = p.slot('pid');
    const size = p.slot('size');
    const buffer = p.space(64);
    p.call('getpid', [], { out: pid });
    p.call('readlinkat', [C.AT_FDCWD, p.string('/proc/self'), buffer, 64], { out: size });
    const result = kernel.run(p.build());
    expect(result.get(pid)).toBe(process.pid);
    expect(result.at(buffer, result.get(size)).toString()).toBe(`${process.pid}`);
    expect(result.at(buffer)).toHaveLength(64);
  });

  test('fails with its step, the system call and the errno', () => {
    const p = new ProgramBuilder();
    p.call('getpid', []);
    p.step('opening what is not there');
    openat(p, C.AT_FDCWD, '/nonexistent/file', 'O_RDONLY');
    expect(refusal(() => kernel.run(p.build()))).toEqual({
      code: 'SYSCALL_FAILED',
      message: 'opening what is not there: openat: ENOENT',
      details: { syscall: 'openat', errno: 'ENOENT' },
    });
  });

  test('has the negative errno in a slot where it is tolerated', () => {
    const p = new ProgramBuilder();
    const fd = openat(p, C.AT_FDCWD, '/nonexistent', 'O_RDONLY', { tolerate: ['ENOENT'] });
    expect(kernel.run(p.build()).get(fd)).toBe(-2);
  });

  test('can be run again, from its beginning', () => {
    const p = new ProgramBuilder();
    const fd = p.slot('fd');
    const written = p.pathWithNumber('/proc/', fd, '/none');
    p.call('getpid', [], { out: fd });
    const program = p.build();
    const texts = [1, 2].map(() => kernel.run(program).at(written).toString());
    expect(texts).toEqual(Array(2).fill(`/proc/${`${process.pid}`.padStart(10, '/')}/none\0`));
  });
});

describe('pairs', () => {
  /** O_CLOEXEC in the octal flags of /proc/PID/fdinfo (proc(5)). */
  const closeOnExec = (fd: number): boolean => {
    const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '';
    return (Number.parseInt(flags, 8) & C.O_CLOEXEC) !== 0;
  };

  test('a pipe leads from its second end to its first, and neither survives exec', () => {
    const [readEnd, writeEnd] = pipe();
    writeSync(writeEnd, 'through');
    const buffer = Buffer.alloc(16);
    expect(buffer.toString('latin1', 0, readSync(readEnd, buffer))).toBe('through');
    expect([closeOnExec(readEnd), closeOnExec(writeEnd)]).toEqual([true, true]);
  });

  test('sockets keep messages apart, and neither survives exec', () => {
    const [a, b] = kernel.socketPair().map(keep) as [number, number];
    writeSync(a, 'one');
    writeSync(a, 'two');
    const buffer = Buffer.alloc(16);
    const messages = [1, 2].map(() => buffer.toString('latin1', 0, readSync(b, buffer)));
    expect(messages).toEqual(['one', 'two']);
    expect([closeOnExec(a), closeOnExec(b)]).toEqual([true, true]);
  });

  test('a memfd holds its bytes and can be changed by nobody', () => {
    const fd = keep(kernel.memfd('silt-test', Buffer.from('sealed')));
    expect(readFileSync(`/proc/self/fd/${fd}`, 'latin1')).toBe('sealed');
    expect(() => writeSync(fd, 'x')).toThrow('EPERM');
  });
});

describe('a started program', () => {
  test('reports in order, with text and fds, until all its processes have ended', async () => {
    const [readEnd, writeEnd] = pipe();
    const p = new ProgramBuilder();
    const payload = (text: string) => p.bytes(Buffer.from(text), 'report', 1);
    sendMessage(p, p.report, payload('first'));
    sendMessage(p, p.report, payload('second with some text'), [p.donated('pipe')]);
    fork(p, 'child', {}, () => sendMessage(p, p.report, payload('third'), [p.donated('pipe'), p.donated('pipe')]));
    const started = kernel.start(p.build(), { pipe: writeEnd });
    keep(started.pidfd);
    const reports = [await started.reports.next(), await started.reports.next(), await started.reports.next()];
    expect(reports).toMatchObject([
      { name: 'first', text: '', fds: [] },
      { name: 'second', text: 'with some text' },
      { name: 'third', text: '' },
    ]);
    expect(reports.map((report) => report!.fds.length)).toEqual([0, 1, 2]);
    // Copies of the donated fd, open for writing.
    const [copy, ...more] = reports.flatMap((report) => report!.fds.map(keep));
    expect(fstatSync(copy!).ino).toBe(fstatSync(readEnd).ino);
    expect(more).toHaveLength(2);
    writeSync(copy!, 'x');
    expect(readSync(readEnd, Buffer.alloc(1))).toBe(1);
    await expect(started.reports.next()).resolves.toBeUndefined();
    await expect(started.reports.next()).resolves.toBeUndefined();
    started.reports.close();
    await expect(ended(started.pidfd)).resolves.toEqual({ status: 0, signaled: false });
  });

  test('is asked for before it reports just as well as after', async () => {
    const { started, finish } = waiting((p) => sendMessage(p, p.report, p.bytes(Buffer.from('late'), 'late', 1)));
    const two = [started.reports.next(), started.reports.next()];
    await expect(two[0]).resolves.toEqual({ name: 'late', text: '', fds: [] });
    finish();
    await expect(two[1]).resolves.toBeUndefined();
    started.reports.close();
    await ended(started.pidfd);
  });

  test('fails with the step and the process in which it happened, and exits with 127', async () => {
    const p = new ProgramBuilder();
    p.step('cloning');
    const child = fork(p, 'helper', {}, () => {
      p.step('opening what is not there');
      openat(p, C.AT_FDCWD, '/nonexistent', 'O_RDONLY');
    });
    const info = p.space(128);
    p.step('waiting for the helper').call('waitid', [C.P_PID, child.pid, info, C.WEXITED, 0]);
    p.step('closing what is not open').call('close', [-1]);
    const started = kernel.start(p.build(), {});
    keep(started.pidfd);
    expect(await refusalOf(started.reports.next())).toEqual({
      code: 'SYSCALL_FAILED',
      message: 'opening what is not there (helper): openat: ENOENT',
      details: { syscall: 'openat', errno: 'ENOENT' },
    });
    expect(await refusalOf(started.reports.next())).toMatchObject({
      message: 'closing what is not open: close: EBADF',
    });
    await expect(started.reports.next()).resolves.toBeUndefined();
    started.reports.close();
    await expect(ended(started.pidfd)).resolves.toEqual({ status: 127, signaled: false });
  });

  test('that the interpreter refuses is PROGRAM_INVALID', async () => {
    // An instruction without a system call: a program must have at least one.
    const started = kernel.start(new ProgramBuilder().build(), {});
    keep(started.pidfd);
    expect((await refusalOf(started.reports.next())).code).toBe('PROGRAM_INVALID');
    started.reports.close();
    await ended(started.pidfd);
  });

  test('hears what it is sent', async () => {
    const p = new ProgramBuilder();
    const size = p.slot('size');
    const buffer = p.space(64);
    p.call('recvfrom', [p.report, buffer, 64, 0, 0, 0], { out: size });
    p.call('sendto', [p.report, buffer, size, C.MSG_NOSIGNAL, 0, 0]);
    const started = kernel.start(p.build(), {});
    keep(started.pidfd);
    started.reports.send('echo me');
    await expect(started.reports.next()).resolves.toMatchObject({ name: 'echo', text: 'me' });
    await expect(started.reports.next()).resolves.toBeUndefined();
    // Nobody is there any more: no error, as the end has been reported.
    started.reports.close();
    await ended(started.pidfd);
  });

  test('may end without reading what it was sent: its reports still come, then the end', async () => {
    const p = new ProgramBuilder();
    read(p, p.donated('control'), 1);
    sendMessage(p, p.report, p.bytes(Buffer.from('last'), 'last', 1));
    const [readEnd, writeEnd] = pipe();
    const started = kernel.start(p.build(), { control: readEnd });
    keep(started.pidfd);
    started.reports.send('never read');
    release(writeEnd);
    waitWithoutReaping(started.pidfd);
    await expect(started.reports.next()).resolves.toEqual({ name: 'last', text: '', fds: [] });
    await expect(started.reports.next()).resolves.toBeUndefined();
    started.reports.close();
    await ended(started.pidfd);
  });

  test('is not told what it no longer can hear', async () => {
    const p = new ProgramBuilder();
    p.call('close', [p.report]);
    read(p, p.donated('control'), 1);
    const [readEnd, writeEnd] = pipe();
    const started = kernel.start(p.build(), { control: readEnd });
    keep(started.pidfd);
    release(readEnd);
    // Other copies of its end are closed by exec: the socket has no peer now, and sending is no error.
    const end = started.reports.next();
    await expect(end).resolves.toBeUndefined();
    started.reports.close();
    release(writeEnd);
    await ended(started.pidfd);
  });

  test('gets its fds in the order of the program, whatever the order of the record', async () => {
    const p = new ProgramBuilder();
    write(p, p.donated('b'), 'to b');
    write(p, p.donated('a'), 'to a');
    const [aRead, aWrite] = pipe();
    const [bRead, bWrite] = pipe();
    const started = kernel.start(p.build(), { a: aWrite, b: bWrite });
    keep(started.pidfd);
    await started.reports.next();
    const buffer = Buffer.alloc(8);
    const texts = [aRead, bRead].map((fd) => buffer.toString('latin1', 0, readSync(fd, buffer)));
    expect(texts).toEqual(['to a', 'to b']);
    started.reports.close();
    await ended(started.pidfd);
  });

  test('is not started without an fd that it expects', () => {
    const p = new ProgramBuilder();
    write(p, p.donated('upper'), 'x');
    const before = openFds();
    expect(() => kernel.start(p.build(), { lower: 1 })).toThrow(new RangeError('the program wants an fd called upper'));
    expect(openFds()).toEqual(before);
  });

  test('that cannot be started leaves nothing open', () => {
    const notExecutable = keep(openSync('/dev/null', 'r'));
    const p = new ProgramBuilder();
    p.call('getpid', []);
    const before = openFds();
    expect(() => new Kernel(loadNative(), notExecutable).start(p.build(), {})).toThrow('EACCES');
    expect(openFds()).toEqual(before);
  });

  test('leaves nothing open after its end', async () => {
    const before = openFds();
    const p = new ProgramBuilder();
    sendMessage(p, p.report, p.bytes(Buffer.from('unread'), 'unread', 1), [p.report, p.report]);
    const started = kernel.start(p.build(), {});
    await ended(started.pidfd);
    started.reports.close();
    closeSync(started.pidfd);
    expect(openFds()).toEqual(before);
  });
});

describe('children', () => {
  test('are reaped once they have ended, and not before', async () => {
    const { started, finish } = waiting();
    expect(kernel.reap(started.pidfd)).toBeUndefined();
    finish();
    await expect(ended(started.pidfd)).resolves.toEqual({ status: 0, signaled: false });
    expect(refusal(() => kernel.reap(started.pidfd))).toMatchObject({
      code: 'SYSCALL_FAILED',
      details: { syscall: 'waitid', errno: 'ECHILD' },
    });
    started.reports.close();
  });

  test('have their exit code as status', async () => {
    const p = new ProgramBuilder();
    p.call('exit_group', [42]);
    const started = kernel.start(p.build(), {});
    keep(started.pidfd);
    await expect(ended(started.pidfd)).resolves.toEqual({ status: 42, signaled: false });
    started.reports.close();
  });

  test('have 128 and the number of the signal that ended them', async () => {
    const { started } = waiting();
    expect(kernel.signal(started.pidfd, C.SIGTERM)).toBe(true);
    await expect(ended(started.pidfd)).resolves.toEqual({ status: 143, signaled: true });
    expect(kernel.signal(started.pidfd, C.SIGTERM)).toBe(false);
    started.reports.close();
  });

  test('of a group are signalled and reaped together', async () => {
    const { started } = waiting((p) => {
      p.call('setpgid', [0, 0]);
      fork(p, 'child', {}, () => {
        sendMessage(p, p.report, p.bytes(Buffer.from('child'), 'child', 1));
        read(p, p.donated('control'), 1);
      });
    });
    await started.reports.next();
    kernel.signalGroup(started.pid, C.SIGKILL);
    // The end of the socket is the end of both.
    await expect(started.reports.next()).resolves.toBeUndefined();
    kernel.reapGroup(started.pid, true);
    expect(refusal(() => kernel.reap(started.pidfd)).details.errno).toBe('ECHILD');
    // A group that has ended is no error.
    kernel.signalGroup(started.pid, C.SIGKILL);
    kernel.reapGroup(started.pid, false);
    started.reports.close();
  });

  test('of a group are ended, and a group that has none of them is left alone', async () => {
    const { started } = waiting((p) => {
      p.call('setpgid', [0, 0]);
      sendMessage(p, p.report, p.bytes(Buffer.from('first'), 'first', 1));
    });
    await started.reports.next();
    const other = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { detached: true });
    const [output] = (await once(other.stdout, 'data')) as [Buffer];
    const orphan = Number(output.toString());
    const exit = once(other, 'exit');
    other.kill('SIGKILL');
    await exit;
    // Its number is still the group's, and none of those in it is this process's child.
    kernel.endGroup(other.pid!);
    expect(() => process.kill(orphan, 0)).not.toThrow();
    process.kill(orphan, 'SIGKILL');
    kernel.endGroup(started.pid);
    expect(refusal(() => kernel.reap(started.pidfd)).details.errno).toBe('ECHILD');
    started.reports.close();
  });
});

describe('pidfdOpen', () => {
  test('gives a pidfd of a process, which may be somebody else’s', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const fd = keep(kernel.pidfdOpen(child.pid!));
    expect(/^Pid:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]).toBe(`${child.pid!}`);
    const exit = once(child, 'exit');
    expect(kernel.signal(fd, C.SIGKILL)).toBe(true);
    await expect(exit).resolves.toEqual([null, 'SIGKILL']);
  });

  test('is PROCESS_NOT_FOUND for a pid that nobody has', () => {
    // Beyond the largest pid_max.
    expect(refusal(() => kernel.pidfdOpen(4194305))).toEqual({
      code: 'PROCESS_NOT_FOUND',
      message: 'opening a pidfd of process 4194305: pidfd_open: ESRCH',
      details: { syscall: 'pidfd_open', errno: 'ESRCH' },
    });
  });

  test('is SYSCALL_FAILED for what is no pid', () => {
    expect(refusal(() => kernel.pidfdOpen(-1))).toMatchObject({
      code: 'SYSCALL_FAILED',
      details: { errno: 'EINVAL' },
    });
  });
});
