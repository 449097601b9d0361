import { closeSync, fstatSync, readdirSync, readSync } from 'node:fs';
import { refusalOf } from '../../errors/testing/refusal';
import { loadNative, openInterpreter } from '../../native';
import {
  C,
  fork,
  Kernel,
  ProgramBuilder,
  read,
  type Report,
  sendMessage,
  type Started,
  waitForChild,
  write,
} from '../../syscall';
import { pidOf, Process } from './process';
import { awaitReports } from './started';

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), interpreter);
afterAll(() => closeSync(interpreter));

let control: number | undefined;
let fdsBefore: string[];
beforeEach(() => {
  fdsBefore = readdirSync('/proc/self/fd');
});
afterEach(() => {
  if (control !== undefined) closeSync(control);
  control = undefined;
  expect(readdirSync('/proc/self/fd').filter((fd) => !fdsBefore.includes(fd))).toEqual([]);
});

/** Starts a program as the sandbox's are: in a process group of its own; the fd `control` is a pipe that stays open. */
function start(body: (p: ProgramBuilder) => void, donations: Readonly<Record<string, number>> = {}): Started {
  const p = new ProgramBuilder();
  p.call('setpgid', [0, 0]);
  p.donated('control');
  body(p);
  const [readEnd, writeEnd] = kernel.pipe();
  control = writeEnd;
  const started = kernel.start(p.build(), { ...donations, control: readEnd });
  closeSync(readEnd);
  return started;
}

const say = (p: ProgramBuilder, name: string, fds: Parameters<typeof sendMessage>[3] = []): void =>
  sendMessage(p, p.report, p.bytes(Buffer.from(name), name, 1), fds);
const wait = (p: ProgramBuilder): void => {
  read(p, p.donated('control'), 1);
};

const groupOf = (pid: number): boolean => {
  const p = new ProgramBuilder();
  const result = p.slot('result');
  p.call('kill', [-pid, 0], { out: result, tolerate: ['ESRCH'] });
  return kernel.run(p.build()).get(result) === 0;
};

describe('reports that come', () => {
  test('are given by name, in whatever order they came, and the starter is reaped', async () => {
    const started = start((p) => {
      say(p, 'b');
      say(p, 'extra');
      say(p, 'a', [p.donated('control')]);
    });
    const got = await awaitReports(kernel, started, ['a', 'b'], { what: 'testing' });
    expect(Object.keys(got).sort()).toEqual(['a', 'b', 'extra']);
    expect(fstatSync(got.a.fds[0]!).isFIFO()).toBe(true);
    closeSync(got.a.fds[0]!);
    expect(groupOf(started.pid)).toBe(false);
    started.reports.close();
  });

  test('are the callback’s when it takes them, fds and all', async () => {
    const started = start((p) => {
      say(p, 'mine', [p.donated('control')]);
      say(p, 'yours', [p.donated('control')]);
    });
    const taken: Report[] = [];
    const onReport = (report: Report): boolean => report.name === 'mine' && taken.push(report) > 0;
    const got = await awaitReports(kernel, started, ['mine', 'yours'], { what: 'testing', onReport });
    expect([got.mine.fds, got.yours.fds.length, taken[0]?.fds.length]).toEqual([[], 1, 1]);
    for (const fd of [...got.yours.fds, ...taken[0]!.fds]) closeSync(fd);
    started.reports.close();
  });

  test('and no more are waited for: what comes later is for the next to read', async () => {
    const started = start((p) => {
      fork(p, 'other', { flags: 'CLONE_PARENT' }, () => {
        p.call('setpgid', [0, 0]);
        say(p, 'first');
        wait(p);
        say(p, 'later');
      });
    });
    await awaitReports(kernel, started, ['first'], { what: 'testing' });
    closeSync(control!);
    control = undefined;
    await expect(started.reports.next()).resolves.toMatchObject({ name: 'later' });
    await expect(started.reports.next()).resolves.toBeUndefined();
    started.reports.close();
    reapAll();
  });
});

/** Reaps a child that is in a group of its own. */
function reapAll(): void {
  const p = new ProgramBuilder();
  p.call('waitid', [0, 0, p.space(128), C.WEXITED, 0], { retry: true });
  kernel.run(p.build());
}

describe('a failure', () => {
  test('is thrown once everything that the program started is gone, and what it sent is closed', async () => {
    const started = start((p) => {
      say(p, 'first', [p.donated('control')]);
      fork(p, 'bystander', { flags: 'CLONE_PARENT' }, () => {
        say(p, 'second', [p.donated('control'), p.donated('control')]);
        wait(p);
      });
      // Until the bystander has spoken.
      p.step('failing').call('nanosleep', [timespec(p, 20_000_000), 0]);
      p.call('close', [-1]);
    });
    expect(await refusalOf(awaitReports(kernel, started, ['first', 'never'], { what: 'testing' }))).toEqual({
      code: 'SYSCALL_FAILED',
      message: 'failing: close: EBADF',
      details: { syscall: 'close', errno: 'EBADF' },
    });
    expect(groupOf(started.pid)).toBe(false);
  });

  test('is INTERNAL when the processes end without a word', async () => {
    const started = start((p) => say(p, 'first'));
    expect(await refusalOf(awaitReports(kernel, started, ['first', 'second'], { what: 'starting the test' }))).toEqual({
      code: 'INTERNAL',
      message: "starting the test: silt's processes were killed before they were done",
      details: {},
    });
  });

  /** Another process than the starter, in a group of its own, holds the socket and waits; `then` is done when it is there. */
  async function besideAnother(then: (starter: number) => void, end: 'abort' | 'later'): Promise<void> {
    const started = start((p) => {
      const child = fork(p, 'child', { flags: 'CLONE_PARENT', pidfd: true }, () => {
        p.call('setpgid', [0, 0]);
        wait(p);
      });
      say(p, 'process', [p.keep(child.pidfd, 'child')]);
      wait(p);
    });
    let child: Process | undefined;
    const onReport = ({ fds }: Report): boolean => {
      child = new Process(kernel, pidOf(fds[0]!), fds[0]!);
      then(started.pid);
      return true;
    };
    const kill = (): void => {
      if (child && !child.exit) kernel.signal(child.fd, C.SIGKILL);
    };
    const abort = end === 'abort' ? { abort: kill } : {};
    const timer = setTimeout(end === 'later' ? kill : () => undefined, 200);
    const outcome = awaitReports(kernel, started, ['process', 'built'], {
      what: 'starting the test',
      onReport,
      ...abort,
    });
    expect(await refusalOf(outcome)).toMatchObject({ code: 'INTERNAL' });
    clearTimeout(timer);
    await expect(child!.exited).resolves.toMatchObject({ status: 137 });
    expect(groupOf(started.pid)).toBe(false);
  }

  test('is the end of the starter by a signal, though another process holds the socket and waits', () =>
    besideAnother((starter) => process.kill(starter, 'SIGKILL'), 'abort'));

  test('is the end of its group by somebody else, who reaps it before this is told', () =>
    besideAnother((starter) => kernel.endGroup(starter), 'later'));

  test('aborts what is outside of the program’s group, also what is only heard of afterwards', async () => {
    const [markRead, markWrite] = kernel.pipe();
    const started = start(
      (p) => {
        const child = fork(p, 'child', { flags: 'CLONE_PARENT', pidfd: true }, () => {
          p.call('setpgid', [0, 0]);
          wait(p);
        });
        const failing = fork(p, 'failing', {}, () => {
          p.call('close', [-1]);
        });
        waitForChild(p, failing.pid);
        say(p, 'process', [p.keep(child.pidfd, 'child')]);
        write(p, p.donated('mark'), 'x');
        wait(p);
      },
      { mark: markWrite },
    );
    // By now both messages are there, the failure first.
    readSync(markRead, Buffer.alloc(1));
    closeSync(markRead);
    closeSync(markWrite);
    let child: Process | undefined;
    const abort = (): void => {
      if (child && !child.exit) kernel.signal(child.fd, C.SIGKILL);
    };
    const onReport = ({ fds }: Report): boolean => {
      child = new Process(kernel, pidOf(fds[0]!), fds[0]!);
      return true;
    };
    const outcome = awaitReports(kernel, started, ['process', 'ready'], { what: 'testing', onReport, abort });
    expect((await refusalOf(outcome)).message).toBe('close (failing): close: EBADF');
    await expect(child!.exited).resolves.toMatchObject({ status: 137, signaled: true });
  });
});

function timespec(p: ProgramBuilder, nanoseconds: number) {
  const at = p.space(16);
  p.setU64(at.plus(8), nanoseconds);
  return at;
}
