/** What is left to whoever takes over a pod's sandbox process, or one of a container's that is parked before its start. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import {
  containerdSuite,
  isAlive,
  isSilt,
  sandboxPid,
  siltTest,
  taskPid,
  taskStatus,
  testIf,
  waitFor,
} from '../harness';
import { buildInjector, type Injector } from './inject';

const intelTest = testIf(
  isSilt && process.arch === 'x64',
  'injects code into silt’s processes by the registers of x86_64',
);
const SIGSYS = 'signal 31';

function status(pid: number, key: string): string | undefined {
  return new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
}

containerdSuite('an attacker who owns the sandbox', { onlyPeer: 'system' }, (host) => {
  let injector: Injector;
  beforeAll(() => (injector = buildInjector()));
  afterAll(() => injector.remove());

  siltTest('has no capability, one pipe, an empty root and a filter', async () => {
    const id = await host().startContainer();
    const pid = sandboxPid(host(), id);
    await waitFor('the sandbox to have confined itself', () => status(pid, 'Seccomp') === '2');
    expect(['CapPrm', 'CapEff', 'CapInh', 'CapAmb'].map((set) => status(pid, set))).toEqual(
      Array(4).fill('0'.repeat(16)),
    );
    expect(status(pid, 'NoNewPrivs')).toBe('1');
    expect([status(pid, 'Seccomp'), status(pid, 'Seccomp_filters')]).toEqual(['2', '1']);
    expect(readdirSync(`/proc/${pid}/fd`)).toEqual(['0']);
    expect(readlinkSync(`/proc/${pid}/fd/0`)).toMatch(/^pipe:/);
    // The upper is there, and behind it nothing of the host.
    expect(readdirSync(`/proc/${pid}/root`)).toEqual([id]);
    expect(readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n')).toHaveLength(2);
    await host().remove(id);
  });

  intelTest('can read its pipe, and dies of any other system call, and the pod with it', async () => {
    const calls: [string, ...number[]][] = [
      ['openat', -100, 0, 0],
      ['mount', 0, 0, 0, 0, 0],
      ['socket', 1, 1, 0],
      ['clone', 17],
      ['execve', 0, 0, 0],
      ['getpid'],
    ];
    for (const [name, ...args] of calls) {
      const id = await host().startContainer();
      const pid = sandboxPid(host(), id);
      const first = await taskPid(host(), id);
      await waitFor('the sandbox to have confined itself', () => status(pid, 'Seccomp') === '2');
      expect([name, injector.call(pid, 'read', 99, 0, 0)]).toEqual([name, '-9']);
      expect([name, injector.call(pid, name, ...args)]).toEqual([name, SIGSYS]);
      await waitFor('the container to end with its pod', async () => (await taskStatus(host(), id)) === 'STOPPED');
      expect(isAlive(first)).toBe(false);
      await host().remove(id);
    }
  });
});
