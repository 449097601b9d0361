/** Processes killed in the middle of Create, at moments spread over the whole of it. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { containerdSuite, isSilt, isAlive, siltTest, sleep, waitFor, type Containerd } from '../harness';
import { ownProcesses } from '../harness/leak-check';

/** Moments after the start of `ctr run`, in ms, spread over what a whole run takes here and now. */
async function momentsOfRun(host: Containerd): Promise<number[]> {
  const before = performance.now();
  expect((await host.run(['true'])).code).toBe(0);
  const duration = performance.now() - before;
  return Array.from({ length: 16 }, (_, i) => (duration * (i + 1)) / 16);
}

/** Pids of this containerd's processes whose command line matches, such as shims. */
function findOwn(host: Containerd, pattern: RegExp): number[] {
  const found = [...ownProcesses(host.ownership).values()].filter((line) => pattern.test(line));
  return found.map((line) => Number(line.split(' ')[0]));
}

/** Removes what a broken start has left of a container. containerd may still be about to find out that its shim is gone. */
async function removeIfThere(host: Containerd, id: string): Promise<void> {
  let said = '';
  const removed = async (): Promise<boolean> => {
    const results = [await host.ctr(['tasks', 'delete', '--force', id]), await host.ctr(['containers', 'delete', id])];
    said = results.map(({ stderr }) => stderr).join(' ');
    return !(await host.mustCtr(['containers', 'ls', '--quiet'])).stdout.toString().split('\n').includes(id);
  };
  await waitFor(`${id} to be removed`, removed, { detail: () => said });
}

/**
 * Kills whatever matches at each of the moments, and checks each time that the container can be removed and another one runs.
 * Again from the first moment when the machine was too uneven for the moments to hit a few times.
 */
async function killAtEachMoment(host: Containerd, pattern: RegExp): Promise<void> {
  let killed = 0;
  for (let round = 0; round < 4 && killed < 4; round++) killed += await killOnceAtEachMoment(host, pattern);
  expect(killed).toBeGreaterThan(0);
  await untilSwept(host);
}

async function killOnceAtEachMoment(host: Containerd, pattern: RegExp): Promise<number> {
  let killed = 0;
  for (const moment of await momentsOfRun(host)) {
    const id = host.newId();
    const command = host.startCtr(host.runWords(id, ['sleep', '0.2']));
    await sleep(moment);
    for (const pid of findOwn(host, pattern)) {
      if (!isAlive(pid)) continue;
      try {
        process.kill(pid, 'SIGKILL');
        killed += 1;
      } catch {
        // It was quicker.
      }
    }
    await command.ended;
    await removeIfThere(host, id);
    expect(await host.run(['echo', 'next'])).toMatchObject({ code: 0, stderr: '' });
  }
  return killed;
}

/**
 * A \`delete\` may have been among those that were killed, and containerd does not run it again: what it left goes with later
 * shims, after the time for which it is left to containerd.
 */
async function untilSwept(host: Containerd): Promise<void> {
  const left = (): string[] =>
    ['s', 'id-ranges', host.namespace]
      .map((name) => join(host.siltRoot, name))
      .filter((path) => existsSync(path))
      .flatMap((path) => readdirSync(path).map((entry) => join(path, entry)));
  if (!isSilt) return;
  for (let round = 0; left().length > 0; round++) {
    if (round === 10) throw new Error(`killed processes left what nobody removes: ${left().join(' ')}`);
    expect(await host.run(['true'])).toMatchObject({ code: 0 });
    // This container's own shim is on its way out, and takes what it found with it.
    await waitFor('all to be gone', () => left().length === 0, { timeoutMs: 3000 }).catch(() => undefined);
  }
}

const settings = {
  runcLeaves: 'shims, sockets and cgroups',
  // Killed while it prepares a snapshot, containerd leaves the directory to its own garbage collector; the bundle of a task whose
  // `delete` was killed it leaves until its next start.
  containerdLeaves: /overlayfs\/snapshots\/(new-)?\d+$|io\.containerd\.runtime\.v2\.task\//,
};

containerdSuite('crashes in the middle of Create', settings, (host) => {
  test('the shim is killed', async () => {
    await killAtEachMoment(host(), /containerd-shim|shim\.js/);
  }, 180_000);

  siltTest(
    'sandbox, gofer and launcher are killed',
    async () => {
      await killAtEachMoment(host(), /\((silt-|memfd:silt)/);
    },
    180_000,
  );

  test('containerd is killed and started again', async () => {
    for (const moment of await momentsOfRun(host())) {
      const id = host().newId();
      const command = host().startCtr(host().runWords(id, ['sleep', '1000'], { flags: ['--detach', '--null-io'] }));
      await sleep(moment);
      await host().restart('SIGKILL');
      await command.ended;
      await removeIfThere(host(), id);
    }
    expect(await host().run(['echo', 'next'])).toMatchObject({ code: 0, stderr: '' });
    await untilSwept(host());
  }, 180_000);
});
