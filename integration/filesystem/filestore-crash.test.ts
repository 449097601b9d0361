/** What removes a container's filestore (`--overlay2=root:self`), whichever of the processes is killed, at work or while it is created. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandLineSuite, containerdSuite, deleteTask, isAlive, sandboxPid, shimPid, siltTest, startCommand, taskPid, taskStatus, waitFor, type Containerd } from '../harness'; // prettier-ignore
import { ownProcesses } from '../harness/leak-check';
import { engineUpper } from './overlay';

const killAll = (pids: readonly number[]): void => {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It went with one before it.
    }
  }
};

type Running = Readonly<Record<'shim' | 'sandbox' | 'container', number>>;

/** Whose end is the end of the task, and no more. */
const TASK_ENDERS: readonly (keyof Running)[] = ['sandbox', 'container'];
const ORDERS: readonly (readonly (keyof Running)[])[] = [
  ['shim'],
  ['shim', 'sandbox', 'container'],
  ['container', 'sandbox', 'shim'],
];

containerdSuite(
  'the filestore of a container of containerd',
  { userns: 'auto', overlay2: 'root:self', more: 'pods-per-shim = 1', onlyPeer: 'system' },
  (host) => {
    // prettier-ignore
    /** A container that has written to its filestore; what its root filesystem on the host has. */
    const running = async (): Promise<{ id: string; upper: string; pids: Running }> => {
    const id = await host().startContainer();
    await host().exec(id, ['sh', '-c', 'echo x > /x; sync']);
    const upper = await engineUpper(host(), id);
    expect(readdirSync(upper)).toEqual(['.silt.filestores']);
    const pids = { shim: shimPid(host(), id), sandbox: sandboxPid(host(), id), container: await taskPid(host(), id) };
    return { id, upper, pids };
  };
    const gone = (upper: string): Promise<unknown> =>
      waitFor('the filestore to be removed', () => readdirSync(upper).length === 0, { timeoutMs: 60_000 });
    /** containerd has been told of the end of the task. */
    const stopped = (containerd: Containerd, id: string): Promise<unknown> =>
    waitFor(`${id} to have stopped`, async () => (await taskStatus(containerd, id)) === 'STOPPED', { timeoutMs: 60_000 }); // prettier-ignore

    for (const name of TASK_ENDERS)
      siltTest(`goes with the task when the ${name} was killed`, async () => {
        const { id, upper, pids } = await running();
        killAll([pids[name]]);
        await stopped(host(), id);
        await deleteTask(host(), id);
        expect(readdirSync(upper)).toEqual([]);
        await host().remove(id);
      });

    for (const names of ORDERS)
      siltTest(`is removed by containerd’s call of delete when ${names.join(', ')} were killed`, async () => {
        const { id, upper, pids } = await running();
        killAll(names.map((name) => pids[name]));
        await gone(upper);
        await waitFor('the processes to end', () => Object.values(pids).every((pid) => !isAlive(pid)));
        await host().remove(id);
      });

    siltTest('is removed once containerd is started again when every process was killed with it', async () => {
      const { id, upper, pids } = await running();
      await host().stop('SIGKILL');
      killAll(Object.values(pids));
      await waitFor('the processes to end', () => Object.values(pids).every((pid) => !isAlive(pid)));
      expect(readdirSync(upper)).toEqual(['.silt.filestores']);
      await host().start();
      await gone(upper);
      await host().remove(id);
    });
  },
);

commandLineSuite('the filestore of a container that is being created', (host) => {
  /** Kills one of silt's processes (or all) while a hook runs: the root is being built, launcher and gofer wait. */
  const create = async (which: number | 'all'): Promise<{ id: string; killed: string[] }> => {
    const id = host().newId();
    const [ready, go] = ['ready', 'go'].map((name) => join(host().directory, `${name}-${id}`)) as [string, string];
    const script = `touch ${ready}; while [ ! -e ${go} ]; do sleep 0.05; done`;
    const bundle = host().sleeper({ hooks: { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', script] }] } });
    const words = host().silt.words(['--userns=auto', '--overlay2=root:self', 'create', '--bundle', bundle, id]);
    // What the container has as its output would keep the command from being over.
    const quiet = ['sh', '-c', 'exec "$@" > /dev/null 2>&1', 'sh', ...words];
    const command = startCommand(quiet, { env: host().environment });
    await waitFor('the hook to run', () => existsSync(ready));
    expect(readdirSync(join(host().rootfs, '.silt.filestores'))).toEqual([id]);
    // By their names or as the command; the hook's own are its shell and a sleep.
    const own = [...ownProcesses(host().ownership).values()].filter((line) => /\((silt-|memfd:silt).*\) [^Z]|cli\.js/.test(line)); // prettier-ignore
    const killed = which === 'all' ? own : own.slice(which, which + 1);
    killAll(killed.map((line) => Number(line.split(' ')[0])));
    // The hook's shell is no process of silt's, and ends by itself.
    writeFileSync(go, '');
    const { code } = await command.ended;
    expect([killed, code === 0]).toEqual([killed, killed.length === 0]);
    return { id, killed };
  };

  test('is removed by the command, or if that is killed by delete --force, whichever of its processes is killed', async () => {
    const all: string[] = [];
    for (let which = 0; ; which++) {
      const { id, killed } = await create(which);
      const [one] = killed;
      // Of the command itself nobody is left to remove it.
      if (one !== undefined && !one.includes('cli.js'))
        expect([one, existsSync(join(host().rootfs, '.silt.filestores'))]).toEqual([one, false]);
      await host().silt.must(['delete', '--force', id]);
      expect(existsSync(join(host().rootfs, '.silt.filestores'))).toBe(false);
      if (one === undefined) break;
      all.push(one);
    }
    // The command, the sandbox, starter, launcher and gofer.
    expect(all.length).toBeGreaterThanOrEqual(5);
  }, 120_000);

  test('is removed by delete --force when all are killed at once', async () => {
    const { id, killed } = await create('all');
    expect(killed.length).toBeGreaterThanOrEqual(5);
    await host().silt.must(['delete', '--force', id]);
    expect(existsSync(join(host().rootfs, '.silt.filestores'))).toBe(false);
  });
});
