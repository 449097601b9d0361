/** Pods of one containerd namespace share a process: one start of Node, and the memory of one. What each has stays its own. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  binDirectory,
  containerdSuite,
  EventWatch,
  isAlive,
  openFiles,
  runCommand,
  shimPid,
  shimSocket,
  siltTest,
  taskPid,
  waitFor,
} from '../harness';

const settings = {
  more: 'pods-per-shim = 3',
  containerdLeaves: /overlayfs\/snapshots\/\d+$/,
};

/** As it was started with: what shares a shim has the same. */
function environmentOf(pid: number): NodeJS.ProcessEnv {
  const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').slice(0, -1);
  return Object.fromEntries(variables.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)]));
}

containerdSuite('a shim of several pods', settings, (host) => {
  const start = (): Promise<string> => host().startContainer(['sleep', '1000']);

  siltTest('has as many as the configuration says, and the next ones have another', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) ids.push(await start());
    const shims = ids.map((id) => shimPid(host(), id));
    expect(new Set(shims.slice(0, 3)).size).toBe(1);
    expect(new Set(shims.slice(3)).size).toBe(1);
    expect(new Set(shims).size).toBe(2);
    const sockets = ids.map((id) => shimSocket(host(), id));
    expect(new Set(sockets).size).toBe(5);
    // The end of one pod is not that of others.
    await host().remove(ids[0]!);
    expect(existsSync(sockets[0]!)).toBe(false);
    expect((await host().exec(ids[1]!, ['echo', 'here'])).stdout.toString()).toBe('here\n');
    for (const id of ids.slice(1)) await host().remove(id);
    await waitFor('both to end', () => !shims.some(isAlive));
  });

  siltTest(
    'that was full takes pods again once it has room and nobody else takes them',
    async () => {
      const ids = [await start(), await start(), await start()];
      const full = shimPid(host(), ids[0]!);
      await host().remove(ids.pop()!);
      const next = await start();
      expect(shimPid(host(), next)).toBe(full);
      // While another one takes them it does not, and when that is full it does.
      const others = [await start(), await start()];
      const other = shimPid(host(), others[0]!);
      expect(other).not.toBe(full);
      await host().remove(next);
      others.push(await start());
      expect(others.map((id) => shimPid(host(), id))).toEqual([other, other, other]);
      const sockets = join(host().siltRoot, 's');
      await waitFor('the first to listen again', () => readdirSync(sockets).some((name) => name.endsWith('.2')), {
        timeoutMs: 30_000,
      });
      others.push(await start());
      expect(shimPid(host(), others.at(-1)!)).toBe(full);
      for (const id of [...ids, ...others]) await host().remove(id);
    },
    60_000,
  );

  siltTest('many at once start one process for each few', async () => {
    const ids = await Promise.all(Array.from({ length: 9 }, start));
    expect(new Set(ids.map((id) => shimPid(host(), id))).size).toBeLessThanOrEqual(5);
    await Promise.all(ids.map((id) => host().remove(id)));
  });

  siltTest('that is killed takes its pods with it, each end is reported, and no other pod is touched', async () => {
    const watch = await EventWatch.start(host());
    const ids = [await start(), await start(), await start(), await start()];
    const pids = await Promise.all(ids.map((id) => taskPid(host(), id)));
    process.kill(shimPid(host(), ids[0]!), 'SIGKILL');
    for (const [index, id] of ids.slice(0, 3).entries()) {
      const exit = await watch.waitForTopic(id, '/tasks/exit');
      expect(exit.body).toMatchObject({ container_id: id, pid: pids[index]!, exit_status: 137 });
    }
    await watch.stop();
    expect(isAlive(pids[3]!)).toBe(true);
    expect((await host().exec(ids[3]!, ['echo', 'here'])).stdout.toString()).toBe('here\n');
    for (const id of ids) await host().remove(id);
  });

  siltTest('has nothing left of the pods that have ended', async () => {
    const stays = await start();
    const shim = shimPid(host(), stays);
    const run = async (rounds: number): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        expect(await host().run(['echo', 'x'])).toMatchObject({ code: 0, stderr: '' });
      }
    };
    await run(3);
    // Idle ones of pods that are on their way out close a little later.
    let level = openFiles(shim).size;
    await waitFor('open files to settle', () => level === (level = openFiles(shim).size));
    await run(20);
    await waitFor('open files to come back to their level', () => openFiles(shim).size <= level, {
      detail: () => JSON.stringify([...openFiles(shim).values()]),
    });
    expect(shimPid(host(), stays)).toBe(shim);
    await host().remove(stays);
  });

  siltTest(
    'that stands still costs the next pod seconds, and is there for its own when it goes on',
    async () => {
      const stays = await start();
      const stopped = shimPid(host(), stays);
      process.kill(stopped, 'SIGSTOP');
      try {
        const next = await start();
        const other = shimPid(host(), next);
        expect(other).not.toBe(stopped);
        // No pod meets it again.
        const more = await start();
        expect(shimPid(host(), more)).toBe(other);
        process.kill(stopped, 'SIGCONT');
        for (const id of [stays, next, more])
          expect((await host().exec(id, ['echo', 'here'])).stdout.toString()).toBe('here\n');
        // Its end takes the name of its socket from nobody.
        await host().remove(stays);
        await waitFor('its end', () => !isAlive(stopped), { timeoutMs: 60_000 });
        const last = await start();
        expect(shimPid(host(), last)).toBe(other);
        for (const id of [next, more, last]) await host().remove(id);
      } finally {
        if (isAlive(stopped)) process.kill(stopped, 'SIGCONT');
      }
    },
    120_000,
  );

  siltTest('refuses a second pod of an id that it serves', async () => {
    const id = await start();
    const shim = shimPid(host(), id);
    // As a careless clean-up would: the pod runs on, and nobody finds it by its name.
    rmSync(shimSocket(host(), id));
    const words = ['-namespace', host().namespace, '-address', host().paths.socket, '-publish-binary', 'false'];
    const bundle = mkdtempSync(join(host().directory, 'bundle-'));
    const answer = await runCommand([join(binDirectory, 'containerd-shim-silt-v1'), ...words, '-id', id, 'start'], {
      cwd: bundle,
      env: environmentOf(shim),
    });
    expect(answer.stdout.toString()).toBe('');
    expect(answer.stderr).toMatch(new RegExp(`cannot start ${id}: process ${shim} serves a pod of this id already`));
    expect((await host().exec(id, ['echo', 'here'])).stdout.toString()).toBe('here\n');
    await host().remove(id);
  });

  siltTest('reads the configuration for each pod, and tells of one that is wrong', async () => {
    const stays = await start();
    host().configureSilt({ more: 'no-such-key = 1' });
    const { code, stderr } = await host().run(['true']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('no-such-key is no key of silt');
    host().configureSilt(settings);
    expect(await host().run(['true'])).toMatchObject({ code: 0, stderr: '' });
    await host().remove(stays);
  });

  siltTest('holds no bundle', async () => {
    const id = await start();
    const cwd = openFiles(shimPid(host(), id));
    expect([...cwd.values()].filter((path) => path === host().bundle(id))).toEqual([]);
    expect(readFileSync(`/proc/${shimPid(host(), id)}/cmdline`, 'utf8')).toMatch(/^containerd-shim-silt-v1\0/);
    await host().remove(id);
  });
});
