import { spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, readFileSync, readlinkSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { loadNative, nativeDirectory, openInterpreter, WatchEvents } from './index';
import { address, encode, imageAt, nr, slot, type Parts } from './test/encode';

const native = loadNative();
const interpreter = openInterpreter();
const opened: number[] = [interpreter];

/** Remembers an fd, to be closed after the test. */
function keep(fd: number): number {
  opened.push(fd);
  return fd;
}

/** Closes an fd before the end of the test. */
function release(fd: number): void {
  closeSync(opened.splice(opened.indexOf(fd), 1)[0]!);
}

afterEach(() => {
  for (const fd of opened.splice(1)) closeSync(fd);
});
afterAll(() => closeSync(interpreter));

/** Runs a program that must succeed; gives its slots and its image as it is afterwards. */
function run(parts: Parts): { slots: number[]; image: Buffer } {
  const slots = new BigInt64Array(parts.slots ?? 0);
  const program = encode(parts);
  expect(native.run(program, slots)).toBe(-1);
  return { slots: Array.from(slots, Number), image: program.subarray(imageAt(parts)) };
}

/** Two fds from pipe2 or socketpair, whose numbers the kernel writes to the image. */
function pair(call: 'pipe2' | 'socketpair', before: number[], flags: number[]): [number, number] {
  const { image } = run({
    instructions: [{ number: nr(call), arguments: [...before, address(0), ...flags] }],
    image: new Uint8Array(8),
  });
  return [keep(image.readInt32LE(0)), keep(image.readInt32LE(4))];
}
const pipe = (): [number, number] => pair('pipe2', [], [constants.O_NONBLOCK | 0o2000000]);
/** SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC: what reports travel on. */
const reportSockets = (): [number, number] => pair('socketpair', [1, 5 | 0o4000 | 0o2000000, 0], []);
const eventfd = (): number =>
  keep(run({ slots: 1, instructions: [{ number: nr('eventfd2'), slot: 0, arguments: [0, 0o2004000] }] }).slots[0]!);

/** Waits for the watched fd once. */
function ready(fd: number, events: number): Promise<[number, number]> {
  return new Promise((resolve) => {
    const handle = native.watch(fd, events, (got, error) => {
      handle.close();
      resolve([got, error]);
    });
  });
}

/** waitid(P_PIDFD, WEXITED): si_code (1 exited, 2 killed) and si_status. */
function reap(pidfd: number): { code: number; status: number } {
  const { image } = run({
    instructions: [{ number: nr('waitid'), flags: 4, arguments: [3, pidfd, address(0), 4, 0] }],
    image: new Uint8Array(128),
  });
  return { code: image.readInt32LE(8), status: image.readInt32LE(24) };
}

/** Starts a program, with the parent's end of its report socket. */
function start(program: Parts | Uint8Array, donated: number[] = []) {
  const bytes = program instanceof Uint8Array ? program : encode(program);
  const programFd = keep(native.memfd('program', bytes, true));
  const [report, child] = reportSockets();
  const { pid, pidfd } = native.spawn(interpreter, programFd, child, Int32Array.from(donated));
  release(child);
  return { pid, pidfd: keep(pidfd), report };
}

/** Runs a program in its own process to its end; `failure` is what it reported. */
async function finish(program: Parts | Uint8Array, donated: number[] = []) {
  const started = start(program, donated);
  await ready(started.pidfd, WatchEvents.Readable);
  const record = run({
    slots: 1,
    instructions: [{ number: nr('recvfrom'), slot: 0, tolerated: [11], arguments: [started.report, address(0), 64] }],
    image: new Uint8Array(64),
  });
  const size = record.slots[0]!;
  const failure = size > 0 ? [0, 4, 8, 12].map((at) => record.image.readUInt32LE(at)) : undefined;
  return { ...reap(started.pidfd), size, failure };
}

const FAIL = 0x4c494146;
const EBADF = 9;
const ENOENT = 2;

describe('run', () => {
  test('puts results into slots and leaves what calls wrote in the image', () => {
    const image = Buffer.concat([Buffer.from('/proc/self/exe\0'), Buffer.alloc(256)]);
    const result = run({
      slots: 2,
      instructions: [
        { number: nr('getpid'), slot: 1 },
        { number: nr('readlinkat'), slot: 0, arguments: [-100, address(0), address(15), 256] },
      ],
      image,
    });
    expect(result.slots[1]).toBe(process.pid);
    expect(result.image.toString('utf8', 15, 15 + result.slots[0]!)).toBe(readlinkSync('/proc/self/exe'));
  });

  test('returns the index and errno of the instruction that fails, and runs nothing after it', () => {
    const program = encode({
      slots: 2,
      instructions: [
        { number: nr('getpid'), slot: 0 },
        { number: nr('write'), arguments: [-1, address(0), 1] },
        { number: nr('getpid'), slot: 1 },
      ],
      image: new Uint8Array(1),
    });
    const slots = new BigInt64Array(2);
    expect(native.run(program, slots)).toBe(1 * 4096 + EBADF);
    expect([...slots]).toEqual([BigInt(process.pid), 0n]);
  });

  test('a tolerated errno goes into the slot, and a jump sees it', () => {
    const result = run({
      slots: 2,
      instructions: [
        { number: nr('write'), slot: 0, tolerated: [EBADF], arguments: [-1, address(0), 1] },
        { op: 2, slot: 0, target: 3 },
        { number: nr('getpid'), slot: 1 },
      ],
      image: new Uint8Array(1),
    });
    expect(result.slots).toEqual([-EBADF, 0]);
  });

  test('the same buffer runs again with slots from 0 and the image as it was left', () => {
    const parts: Parts = {
      slots: 1,
      instructions: [
        { op: 2, slot: 0, target: 2 },
        { number: nr('getpid'), slot: 0 },
      ],
      relocations: [
        { offset: 0, kind: 1, value: 8 },
        { offset: 8, kind: 4, slot: 0, value: 10 },
      ],
      image: new Uint8Array(20),
    };
    const program = encode(parts);
    const slots = new BigInt64Array(1);
    expect(native.run(program, slots)).toBe(-1);
    const image = program.subarray(imageAt(parts));
    expect(image.toString('latin1', 8, 18)).toBe(String(process.pid).padStart(10, '/'));
    image.fill(1);
    slots[0] = 7n;
    expect(native.run(program, slots)).toBe(-1);
    expect(slots[0]).toBe(BigInt(process.pid));
    expect(image.toString('latin1', 8, 18)).toBe(String(process.pid).padStart(10, '/'));
    expect([...image.subarray(18)]).toEqual([1, 1]);
  });

  test('runs at any alignment', () => {
    const program = encode({ slots: 1, instructions: [{ number: nr('getpid'), slot: 0 }] });
    const shifted = Buffer.alloc(program.length + 3).subarray(3);
    shifted.set(program);
    const slots = new BigInt64Array(1);
    expect(native.run(shifted, slots)).toBe(-1);
    expect(slots[0]).toBe(BigInt(process.pid));
  });

  const call = { number: nr('getpid') };
  const refused: [string, Buffer, string][] = [
    ['truncated header', encode({ instructions: [call] }).subarray(0, 31), 'shorter than a header'],
    ['truncated image', encode({ instructions: [call], image: new Uint8Array(8) }).subarray(0, -1), 'sizes of the'],
    ['another machine', encode({ instructions: [call], machine: 3 }), 'built for another machine'],
    ['no instruction', encode({ instructions: [] }), 'number of instructions'],
    ['257 slots', encode({ slots: 257, instructions: [call] }), 'too many slots'],
    ['slot that there is not', encode({ slots: 1, instructions: [{ ...call, slot: 1 }] }), 'instruction 0: slot'],
    ['argument beyond the image', encode({ instructions: [call, { arguments: [address(1)] }] }), 'instruction 1: arg'],
    ['argument slot', encode({ slots: 1, instructions: [{ arguments: [slot(1)] }] }), 'instruction 0: argument'],
    ['backward jump', encode({ slots: 1, instructions: [call, { op: 1, slot: 0 }] }), 'instruction 1: jump'],
    ['jump to itself', encode({ slots: 1, instructions: [{ op: 1, slot: 0 }] }), 'instruction 0: jump'],
    ['jump too far', encode({ slots: 1, instructions: [{ op: 1, slot: 0, target: 2 }] }), 'instruction 0: jump'],
    ['unknown op', encode({ instructions: [{ op: 3 }] }), 'instruction 0: unknown op'],
    ['unknown flag', encode({ instructions: [{ flags: 16 }] }), 'instruction 0: unknown flag'],
    ['tolerated 0', encode({ instructions: [{ tolerated: [0] }] }), 'instruction 0: tolerated errnos'],
    ['repeat of argument 6', encode({ instructions: [{ flags: 1, target: 6 }] }), 'instruction 0: arguments to repeat'],
    [
      'relocation outside of the image',
      encode({ instructions: [call], relocations: [{ offset: 1, kind: 1 }], image: new Uint8Array(8) }),
      'relocation 0: relocation writes outside',
    ],
    [
      'relocations not sorted',
      encode({
        slots: 2,
        instructions: [call],
        relocations: [
          { offset: 0, kind: 2, slot: 1 },
          { offset: 0, kind: 2, slot: 0 },
        ],
        image: new Uint8Array(8),
      }),
      'relocation 1: relocations are not sorted',
    ],
  ];
  test.each(refused)('refuses: %s', (_name, program, text) => {
    const slots = new BigInt64Array(Math.min(program.length > 22 ? program.readUInt16LE(20) : 0, 256));
    const message = expect.stringContaining(text) as string;
    const want = expect.objectContaining({ code: 'PROGRAM_INVALID', message }) as Error;
    expect(() => native.run(program, slots)).toThrow(want);
  });

  test('refuses slots of another length, and arguments of another type', () => {
    const program = encode({ slots: 1, instructions: [call] });
    expect(() => native.run(program, new BigInt64Array(2))).toThrow('as many elements');
    expect(() => native.run('x' as never, new BigInt64Array(1))).toThrow('Uint8Array');
  });
});

describe('start and finish', () => {
  const MEGABYTE = 1 << 20;

  test('run a program on another thread, while this one goes on', () => {
    const [ours, theirs] = pair('socketpair', [1, 1, 0], []);
    // The call waits for what this thread writes after the start.
    const program = encode({ slots: 1, instructions: [{ number: nr('recvfrom'), slot: 0, arguments: [theirs, address(0), 5, 0, 0, 0] }], image: new Uint8Array(8) }); // prettier-ignore
    const slots = new BigInt64Array(1);
    expect(native.start(program, slots)).toBe(true);
    expect(native.start(program, slots)).toBe(false);
    writeSync(ours, 'hello');
    expect(native.finish()).toBe(-1);
    expect([slots[0], Buffer.from(program.subarray(-8)).toString('latin1', 0, 5)]).toEqual([5n, 'hello']);
  });

  test('tell of failures as run does, and refuse what it refuses', () => {
    const failing = encode({
      instructions: [{ number: nr('getpid') }, { number: nr('fstat'), arguments: [999_999, 0] }],
    });
    expect(native.start(failing, new BigInt64Array(0))).toBe(true);
    const EBADF = 9;
    expect(native.finish()).toBe(4096 + EBADF);
    expect(() => native.start(Buffer.alloc(4), new BigInt64Array(0))).toThrow('syscall program refused');
    expect(() => native.finish()).toThrow('no program was started');
  });

  test('hold the memory of the program', () => {
    const [ours, theirs] = pair('socketpair', [1, 1, 0], []);
    const begin = (): void => {
      const image = new Uint8Array(MEGABYTE);
      native.start(encode({ slots: 1, instructions: [{ number: nr('recvfrom'), slot: 0, arguments: [theirs, address(0), MEGABYTE, 0, 0, 0] }], image }), new BigInt64Array(1)); // prettier-ignore
    };
    begin();
    for (let i = 0; i < 50; i++) Buffer.alloc(MEGABYTE, 1);
    writeSync(ours, 'x'.repeat(1000));
    expect(native.finish()).toBe(-1);
  });
});

describe('memfd', () => {
  test('is sealed against every change, at offset 0, and closed on exec', () => {
    const fd = keep(native.memfd('text', Buffer.from('hello'), true));
    const read = Buffer.alloc(8);
    expect(readSync(fd, read, 0, 8, null)).toBe(5);
    expect(read.toString('utf8', 0, 5)).toBe('hello');
    expect(() => writeSync(fd, 'x', 0)).toThrow(expect.objectContaining({ code: 'EPERM' }) as Error);
    const F_GETFD = 1;
    const { slots } = run({ slots: 1, instructions: [{ number: nr('fcntl'), slot: 0, arguments: [fd, F_GETFD] }] });
    expect(slots).toEqual([1]);
  });

  test('stays writable when not sealed', () => {
    const fd = keep(native.memfd('text', Buffer.from('hello'), false));
    writeSync(fd, 'world!', 0);
    expect(fstatSync(fd).size).toBe(6);
  });
});

describe('spawn', () => {
  test('exits with 0 and no record at the end of the program', async () => {
    const result = await finish({ instructions: [{ number: nr('getpid') }] });
    expect(result).toEqual({ code: 1, status: 0, size: 0, failure: undefined });
  });

  test('fails with a record on fd 4 and status 127', async () => {
    const result = await finish({
      instructions: [
        { number: nr('getpid') },
        { number: nr('readlinkat'), arguments: [-100, address(0), address(2), 1] },
      ],
      image: Buffer.from('x\0\0'),
    });
    expect(result).toEqual({ code: 1, status: 127, size: 16, failure: [FAIL, 1, ENOENT, 0] });
  });

  test('a process that the program cloned reports its own failure', async () => {
    const SIGCHLD = 17;
    const result = await finish({
      slots: 1,
      instructions: [
        { number: nr('clone'), slot: 0, arguments: [SIGCHLD, 0, 0, 0, 0] },
        { op: 2, slot: 0, target: 3 },
        { number: nr('write'), arguments: [-1, 0, 0] },
        // waitid(P_ALL, 0, NULL, WEXITED): the child's failure comes before the parent's end
        { number: nr('waitid'), arguments: [0, 0, 0, 4, 0] },
      ],
    });
    expect(result).toEqual({ code: 1, status: 0, size: 16, failure: [FAIL, 2, EBADF, 0] });
  });

  test('reports the reason of a refused program', async () => {
    const result = await finish(encode({ instructions: [{ number: nr('getpid') }], machine: 3 }));
    expect(result).toMatchObject({ status: 127, failure: [FAIL, 0xffffffff, 4, 0] });
    expect(native.reasons[4]).toBe('built for another machine');
    const empty = await finish(new Uint8Array(0));
    expect(empty).toMatchObject({ status: 127, failure: [FAIL, 0xffffffff, 26, 0] });
  });

  /** Writes what each fd from 0 to 12 is, 64 bytes apiece, to fd 5. */
  const listFds = (): Parts => {
    const fds = Array.from({ length: 13 }, (_, fd) => fd);
    const names = Buffer.concat(fds.map((fd) => Buffer.from(`/proc/self/fd/${fd}`.padEnd(32, '\0'))));
    return {
      instructions: [
        ...fds.map((fd) => ({
          number: nr('readlinkat'),
          flags: 2,
          arguments: [-100, address(32 * fd), address(names.length + 64 * fd), 64],
        })),
        { number: nr('write'), flags: 1, target: 2 | (2 << 3), arguments: [5, address(names.length), 64 * 13] },
      ],
      image: Buffer.concat([names, Buffer.alloc(64 * 13)]),
    };
  };

  test('places fds in order although their numbers overlap the places of others', async () => {
    const [output, input] = pipe();
    const name = (fd: number): string => readlinkSync(`/proc/self/fd/${fd}`);
    const events = [eventfd(), keep(native.memfd('donated', Buffer.from('x'), true))];
    // Node's own fds have low numbers: some of 5, 6, … are certainly in use by what goes elsewhere.
    const donated = [input, events[1]!, 8, 7, 6, 5, events[0]!];
    const names = donated.map(name);
    const result = await finish(listFds(), donated);
    expect(result).toMatchObject({ status: 0, failure: undefined });
    const read = Buffer.alloc(64 * 13);
    expect(readSync(output, read)).toBe(read.length);
    const seen = Array.from({ length: 13 }, (_, fd) =>
      read.toString('utf8', 64 * fd, 64 * fd + 64).replace(/\0+$/, ''),
    );
    // fd 3 is closed once the program is read
    expect(seen).toEqual(['/dev/null', '/dev/null', '/dev/null', '', expect.stringMatching(/^socket:/), ...names, '']);
  });

  test('gives the program default signals, unblocked', async () => {
    const [output, input] = pipe();
    // rt_sigprocmask(SIG_BLOCK, NULL, &mask); mask to fd 5
    const result = await finish(
      {
        instructions: [
          { number: nr('rt_sigprocmask'), arguments: [0, 0, address(0), 8] },
          { number: nr('write'), arguments: [5, address(0), 8] },
        ],
        image: Buffer.alloc(8, 0xff),
      },
      [input],
    );
    expect(result.status).toBe(0);
    const mask = Buffer.alloc(8);
    expect(readSync(output, mask)).toBe(8);
    expect(mask.readBigUInt64LE()).toBe(0n);
  });

  test('ignored signals are reset', () => {
    // Node ignores SIGPIPE; the interpreter must not. It waits in rt_sigtimedwait for a signal that does not come.
    const started = start(waitForNothing(0, 60));
    const status = readFileSync(`/proc/${started.pid}/status`, 'utf8');
    process.kill(started.pid, 'SIGKILL');
    expect(reap(started.pidfd)).toEqual({ code: 2, status: 9 });
    expect(/^SigIgn:\s*(\w+)$/m.exec(status)?.[1]).toBe('0000000000000000');
  });

  test('an exec that fails throws the errno and leaves no process or fd', () => {
    const notExecutable = keep(native.memfd('text', Buffer.from('not a program'), true, true));
    const probe = eventfd();
    release(probe);
    const children = (): string => readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1');
    const before = children();
    const failed = expect.objectContaining({ code: 'ENOEXEC', errno: -8, syscall: 'execveat' }) as Error;
    expect(() => native.spawn(notExecutable, notExecutable, notExecutable, new Int32Array(0))).toThrow(failed);
    expect(eventfd()).toBe(probe);
    expect(children()).toBe(before);
    const noFd = expect.objectContaining({ code: 'EBADF', syscall: 'fcntl' }) as Error;
    expect(() => native.spawn(interpreter, interpreter, interpreter, Int32Array.of(-1))).toThrow(noFd);
  });

  test('the pidfd is closed on exec and turns readable at the exit', async () => {
    const { pidfd, pid } = start(waitForNothing(0, 60));
    const { slots } = run({ slots: 1, instructions: [{ number: nr('fcntl'), slot: 0, arguments: [pidfd, 1] }] });
    expect(slots).toEqual([1]);
    let seen = false;
    const exit = ready(pidfd, WatchEvents.Readable).then((events) => {
      seen = true;
      return events;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toBe(false);
    process.kill(pid, 'SIGTERM');
    expect(await exit).toEqual([WatchEvents.Readable, 0]);
    expect(reap(pidfd)).toEqual({ code: 2, status: 15 });
  });
});

/** rt_sigtimedwait of no signal for `seconds`; EINTR after SIGSTOP and SIGCONT, without any handler (signal(7)). */
function waitForNothing(flags: number, seconds: number, milliseconds = 0): Parts {
  const image = Buffer.alloc(24);
  image.writeBigUInt64LE(BigInt(seconds), 8);
  image.writeBigUInt64LE(BigInt(milliseconds * 1e6), 16);
  const EAGAIN = 11;
  return {
    instructions: [
      { number: nr('rt_sigtimedwait'), flags, tolerated: [EAGAIN], arguments: [address(0), 0, address(8), 8] },
    ],
    image,
  };
}

/** The state letter of a process, from /proc/PID/stat. */
const stateOf = (pid: number): string => /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))![1]!;

async function untilState(pid: number, state: string): Promise<void> {
  for (let turns = 0; stateOf(pid) !== state; turns++) {
    if (turns > 2000) throw new Error(`process ${pid} is ${stateOf(pid)}, not ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Stops and continues a process that sleeps in a system call: the call is interrupted. */
async function interrupt(pid: number): Promise<void> {
  await untilState(pid, 'S');
  process.kill(pid, 'SIGSTOP');
  await untilState(pid, 'T');
  process.kill(pid, 'SIGCONT');
}

describe('interrupted calls', () => {
  const EINTR = 4;

  test('EINTR is a failure, and with the flag calls again', async () => {
    const once = start(waitForNothing(0, 60));
    await interrupt(once.pid);
    await ready(once.pidfd, WatchEvents.Readable);
    expect(reap(once.pidfd)).toEqual({ code: 1, status: 127 });
    const record = Buffer.alloc(16);
    expect(readSync(once.report, record)).toBe(16);
    expect(record.readUInt32LE(8)).toBe(EINTR);

    const again = start(waitForNothing(4, 0, 300));
    await interrupt(again.pid);
    await ready(again.pidfd, WatchEvents.Readable);
    expect(reap(again.pidfd)).toEqual({ code: 1, status: 0 });
  });

  test('EAGAIN with its flag calls again, but not for ever', async () => {
    // Each waits for half a millisecond and is told that nothing came.
    const began = performance.now();
    const raced = start(waitForNothing(8, 0, 0.5));
    await ready(raced.pidfd, WatchEvents.Readable);
    expect(performance.now() - began).toBeGreaterThan(512);
    expect(reap(raced.pidfd)).toEqual({ code: 1, status: 0 });
  });

  const content = Buffer.alloc(1 << 18, 'silt and clay; ');
  const writeAll = (flags: number): Parts => ({
    instructions: [
      { number: nr('write'), flags, target: flags & 1 ? 2 | (2 << 3) : 0, arguments: [5, address(0), content.length] },
    ],
    image: content,
  });

  /** Writes `content` to a pipe of 64 KiB, interrupted while the pipe is full; gives what arrived. */
  async function writeInterrupted(flags: number): Promise<Buffer> {
    const [output, input] = pair('pipe2', [], [0]);
    const { pid, pidfd } = start(writeAll(flags), [input]);
    release(input);
    await interrupt(pid);
    // Only a process that is asleep in write again, or gone, has seen the interruption.
    await untilState(pid, flags & 1 ? 'S' : 'Z');
    const arrived: Buffer[] = [];
    for (;;) {
      const piece = Buffer.alloc(65536);
      const size = readSync(output, piece);
      if (size === 0) break;
      arrived.push(piece.subarray(0, size));
    }
    expect(reap(pidfd)).toEqual({ code: 1, status: 0 });
    return Buffer.concat(arrived);
  }

  test('a short write is the result without repeat', async () => {
    const arrived = await writeInterrupted(0);
    expect(arrived.length).toBe(65536);
  });

  test('a short write goes on where it stopped with repeat', async () => {
    const arrived = await writeInterrupted(1);
    expect(arrived.equals(content)).toBe(true);
  });
});

describe('watch', () => {
  test('reports readable and writable, and changes what it waits for', async () => {
    const [output, input] = pipe();
    expect(await ready(input, WatchEvents.Writable)).toEqual([WatchEvents.Writable, 0]);
    const seen: number[] = [];
    const handle = native.watch(output, 0, (events) => seen.push(events));
    writeSync(input, 'x');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toEqual([]);
    await new Promise<void>((resolve) => {
      const other = native.watch(input, WatchEvents.Writable, () => {
        other.close();
        resolve();
      });
      handle.change(WatchEvents.Readable);
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen[0]).toBe(WatchEvents.Readable);
    handle.change(0);
    const count = seen.length;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen.length).toBe(count);
    handle.close();
    handle.close();
    handle.ref();
    expect(() => handle.change(1)).toThrow(expect.objectContaining({ code: 'EBADF' }) as Error);
  });

  test('reports that the other end of a socket is gone', async () => {
    const [here, there] = reportSockets();
    const gone = ready(here, WatchEvents.Readable | WatchEvents.Disconnect);
    release(there);
    expect(await gone).toEqual([WatchEvents.Readable | WatchEvents.Disconnect, 0]);
  });

  test('a pipe without readers is an error', async () => {
    const [output, input] = pipe();
    const gone = ready(input, WatchEvents.Disconnect);
    release(output);
    expect(await gone).toEqual([0, EBADF]);
  });

  test('runs ticks and promises between one callback and the next', async () => {
    const first = eventfd();
    const second = eventfd();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      for (const fd of [first, second]) {
        writeSync(fd, Buffer.from(BigUint64Array.of(1n).buffer));
        const handle = native.watch(fd, WatchEvents.Readable, () => {
          handle.close();
          order.push('callback');
          void Promise.resolve().then(() => order.push('promise'));
          process.nextTick(() => order.push('tick'));
          if (order.length > 3) setImmediate(resolve);
        });
      }
    });
    expect(order).toEqual(['callback', 'tick', 'promise', 'callback', 'tick', 'promise']);
  });

  test('a second watch of an fd, and a regular file, are refused', () => {
    const fd = eventfd();
    const handle = native.watch(fd, WatchEvents.Readable, () => undefined);
    expect(() => native.watch(fd, WatchEvents.Readable, () => undefined)).toThrow(
      expect.objectContaining({ code: 'EEXIST' }) as Error,
    );
    handle.close();
    const file = keep(native.memfd('file', Buffer.from('x'), false));
    expect(() => native.watch(file, WatchEvents.Readable, () => undefined)).toThrow(
      expect.objectContaining({ code: 'EPERM' }) as Error,
    );
    expect(() => native.watch(fd, 1, undefined as never)).toThrow('callback');
  });

  const script = (body: string): string => `
    const module_ = { exports: {} };
    process.dlopen(module_, ${JSON.stringify(join(nativeDirectory(), 'silt.node'))});
    const { watch } = module_.exports;
    ${body}`;

  test('what the callback throws is an uncaught exception', () => {
    const body = "watch(0, 1, () => { throw new Error('from the callback'); });";
    const result = spawnSync(process.execPath, ['-e', script(body)], { input: 'x', encoding: 'utf8' });
    expect(result.stderr).toContain('Error: from the callback');
    expect(result.status).toBe(1);
  });

  test('lets a process end when unref’ed or only open, and collects handles', () => {
    const body = `
      require('v8').setFlagsFromString('--expose-gc');
      const gc = require('vm').runInNewContext('gc');
      let turns = 0;
      (function turn() {
        watch(0, 1, () => {}).close();
        gc();
        if (turns++ < 20) setImmediate(turn);
        else watch(0, 1, () => {}).unref();
      })();`;
    const result = spawnSync(process.execPath, ['-e', script(body)], { encoding: 'utf8', timeout: 10_000 });
    expect(result).toMatchObject({ status: 0, stderr: '' });
  });

  test('a worker that is terminated closes its watches', async () => {
    const fd = eventfd();
    const body = `watch(${fd}, 1, () => {}); require('worker_threads').parentPort.postMessage('open');`;
    const worker = new Worker(script(body), { eval: true });
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    expect(await worker.terminate()).toBe(1);
    // The fd itself is still ours.
    expect(fstatSync(fd).size).toBe(0);
  });
});
