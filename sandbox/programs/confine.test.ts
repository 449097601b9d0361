import { closeSync } from 'node:fs';
import { loadNative, openInterpreter } from '../../native';
import {
  C,
  type ExitStatus,
  fork,
  hostArch,
  Kernel,
  type Program,
  ProgramBuilder,
  syscallNumbers,
  waitForChild,
} from '../../syscall';
import { capabilityMask, confine } from './confine';

const interpreter = openInterpreter();
const kernel = new Kernel(loadNative(), interpreter);
afterAll(() => closeSync(interpreter));

/** Calls that nobody misses. */
const HARMLESS = ['getpid', 'getppid', 'getuid'] as const;

/** Runs a program to its end, as it is or with one system call turned into another when it is encoded. */
async function outcome(program: Program, change?: { from: string; to: string }): Promise<ExitStatus> {
  const numbers = syscallNumbers(hostArch);
  if (change) {
    const encode = program.encode.bind(program);
    program.encode = () => {
      const bytes = encode();
      program.instructions.forEach((one, i) => {
        if (one.kind === 'call' && one.name === change.from) bytes.writeUInt16LE(numbers[change.to]!, 32 + i * 72 + 2);
      });
      return bytes;
    };
  }
  const { pidfd, reports } = kernel.start(program, {});
  try {
    return await new Promise((resolve) => {
      const watch = kernel.watch(pidfd, C.POLLIN, () => {
        watch.close();
        resolve(kernel.reap(pidfd)!);
      });
    });
  } finally {
    reports.close();
    closeSync(pidfd);
  }
}

const KILLED = { status: 128 + C.SIGSYS, signaled: true };
const DONE = { status: 0, signaled: false };

describe('a process that confines itself', () => {
  const program = (): Program => {
    const p = new ProgramBuilder();
    p.call('getuid', []);
    confine(p);
    for (const name of HARMLESS.slice(0, 2)) p.call(name, []);
    return p.build();
  };

  test('makes the calls that its program has left, and ends', async () => {
    expect(await outcome(program())).toEqual(DONE);
  });

  test('is killed by another one, even by one that it made before', async () => {
    expect(await outcome(program(), { from: 'getppid', to: 'gettid' })).toEqual(KILLED);
    expect(await outcome(program(), { from: 'getppid', to: 'getuid' })).toEqual(KILLED);
    expect(await outcome(program(), { from: 'getppid', to: 'getpid' })).toEqual(DONE);
  });

  test('can still report that a step failed', async () => {
    const p = new ProgramBuilder();
    confine(p);
    p.step('closing what is not open').call('close', [999]);
    const { pidfd, pid, reports } = kernel.start(p.build(), {});
    await expect(reports.next()).rejects.toThrow('closing what is not open');
    reports.close();
    kernel.reapGroup(pid, true);
    closeSync(pidfd);
  });
});

test('what a child that it cloned before may do is its own business, and what one that it clones after may do is not', async () => {
  const program = (first: boolean): Program => {
    const p = new ProgramBuilder();
    const child = (): void => {
      const { pid } = fork(p, 'child', {}, () => p.call('getppid', []));
      const status = waitForChild(p, pid);
      // Ends with the child's status or signal.
      p.call('exit_group', [status]);
    };
    if (!first) confine(p);
    else {
      const { pid } = fork(p, 'other', {}, () => p.call('getuid', []));
      waitForChild(p, pid);
      confine(p);
    }
    child();
    return p.build();
  };
  expect(await outcome(program(true), { from: 'getuid', to: 'gettid' })).toEqual(DONE);
  expect(await outcome(program(false))).toEqual(DONE);
  expect(await outcome(program(false), { from: 'getppid', to: 'gettid' })).toEqual({
    status: C.SIGSYS,
    signaled: false,
  });
});

test('a mask of capabilities', () => {
  expect(capabilityMask([])).toBe(0n);
  expect(capabilityMask(['CAP_CHOWN', 'CAP_SYS_ADMIN'])).toBe((1n << 0n) | (1n << 21n));
});
