import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { refusal } from '../../errors/testing/refusal';
import { loadNative, openInterpreter } from '../../native';
import { C, Kernel, ProgramBuilder, read, type Started } from '../../syscall';
import { Process, pidOf, startTimeOf } from './process';

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), interpreter);
afterAll(() => closeSync(interpreter));

/** A program that exits with this status when the returned function is called. */
function start(status = 0): { started: Started; finish: () => void } {
  const p = new ProgramBuilder();
  read(p, p.donated('control'), 1);
  p.call('exit_group', [status]);
  const [readEnd, writeEnd] = kernel.pipe();
  const started = kernel.start(p.build(), { control: readEnd });
  closeSync(readEnd);
  return { started, finish: () => closeSync(writeEnd) };
}

test('a process runs until it ends, and is known by its pidfd meanwhile', async () => {
  const before = readdirSync('/proc/self/fd');
  const { started, finish } = start(3);
  expect(pidOf(started.pidfd)).toBe(started.pid);
  const process = new Process(kernel, started.pid, started.pidfd);
  expect([process.pid, process.fd, process.exit]).toEqual([started.pid, started.pidfd, undefined]);
  const startedAt = Date.now();
  finish();
  const exit = await process.exited;
  expect(exit).toMatchObject({ status: 3, signaled: false });
  expect(exit.at.getTime()).toBeGreaterThanOrEqual(startedAt);
  expect(process.exit).toBe(exit);
  started.reports.close();
  // The pidfd was the process's to close.
  expect(readdirSync('/proc/self/fd').filter((fd) => !before.includes(fd))).toEqual([]);
});

test('a process that has ended cannot be signalled', async () => {
  const { started, finish } = start();
  const process = new Process(kernel, started.pid, started.pidfd);
  process.signal(C.SIGKILL);
  await expect(process.exited).resolves.toMatchObject({ status: 137, signaled: true });
  const gone = {
    code: 'PROCESS_NOT_FOUND',
    message: `process ${started.pid} has ended: process already finished`,
    details: {},
  };
  expect(refusal(() => process.signal(C.SIGTERM))).toEqual(gone);
  expect(refusal(() => process.fd)).toEqual(gone);
  started.reports.close();
  finish();
});

test('a process that was reaped with its group counts as killed', async () => {
  const { started, finish } = start();
  kernel.signal(started.pidfd, C.SIGKILL);
  // Reaped by somebody else before its own watcher looks.
  const p = new ProgramBuilder();
  p.call('waitid', [C.P_PIDFD, started.pidfd, p.space(128), C.WEXITED, 0], { retry: true });
  kernel.run(p.build());
  expect(pidOf(started.pidfd)).toBe(-1);
  const process = new Process(kernel, started.pid, started.pidfd);
  await expect(process.exited).resolves.toMatchObject({ status: 137, signaled: true });
  started.reports.close();
  finish();
});

describe('the start time of a process', () => {
  test('is the 22nd field of its stat, whatever its name', () => {
    const title = process.title;
    const fields = readFileSync('/proc/self/stat', 'latin1').split(') ').at(-1)!.split(' ');
    process.title = 'a) b (c) ';
    try {
      expect(startTimeOf(process.pid)).toBe(fields[19]);
    } finally {
      process.title = title;
    }
  });

  test('is unknown for a pid that nobody has', () => {
    expect(startTimeOf(4194305)).toBeUndefined();
  });
});
