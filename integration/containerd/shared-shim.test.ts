/** Pods of one containerd namespace share a process: one start of Node, and the memory of one. What each has stays its own. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  containerdSuite,
  EventWatch,
  isAlive,
  openFiles,
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
      await waitFor('the first to listen again', () => readdirSync(sockets).some((name) => name.endsWith('.s')), {
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
