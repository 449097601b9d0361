/** Any process may be killed at any moment: exits are reported, nothing is left, and the next container starts. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  containerdSuite,
  deleteTask,
  EventWatch,
  isAlive,
  sandboxPid,
  shimPid,
  shimSocket,
  siltTest,
  taskPid,
  taskStatus,
  waitFor,
} from '../harness';

const settings = {
  runcLeaves: 'the sockets of killed shims',
  // A containerd that is killed leaves directories of its snapshots to its own garbage collector.
  containerdLeaves: /overlayfs\/snapshots\/\d+$/,
};

interface Record {
  readonly cgroup: { readonly directories: readonly { readonly path: string }[] };
}

containerdSuite('crashes at rest', settings, (host) => {
  const nextOneWorks = async (): Promise<void> => {
    expect((await host().run(['echo', 'next'])).stdout.toString()).toBe('next\n');
  };
  const gone = (id: string): Promise<boolean> => {
    return waitFor(`${id} to be no running task`, async () => (await taskStatus(host(), id)) !== 'RUNNING');
  };

  test('a killed shim takes its pod with it; the exit is reported', async () => {
    const watch = await EventWatch.start(host());
    const id = await host().startContainer(['sh', '-c', 'sleep 1001 & wait']);
    const pid = await taskPid(host(), id);
    process.kill(shimPid(host(), id), 'SIGKILL');
    await waitFor('the container to end', () => !isAlive(pid));
    const exit = await watch.waitForTopic(id, '/tasks/exit');
    expect(exit.body).toMatchObject({ container_id: id, pid, exit_status: 137 });
    await gone(id);
    await watch.stop();
    await host().remove(id);
    await nextOneWorks();
  });

  test('a shim killed while containerd is down is cleaned up when it is back', async () => {
    const id = await host().startContainer(['sh', '-c', 'sleep 1002 & wait']);
    const pid = await taskPid(host(), id);
    const shim = shimPid(host(), id);
    await host().stop('SIGKILL');
    process.kill(shim, 'SIGKILL');
    await host().start();
    await waitFor('the container to end', () => !isAlive(pid));
    await gone(id);
    await host().remove(id);
    await nextOneWorks();
  });

  test('containerd is killed and comes back: the container runs on and answers', async () => {
    const id = await host().startContainer();
    const pid = await taskPid(host(), id);
    await host().restart('SIGKILL');
    expect(isAlive(pid)).toBe(true);
    expect(await taskPid(host(), id)).toBe(pid);
    expect((await host().exec(id, ['echo', 'still here'])).stdout.toString()).toBe('still here\n');
    expect(await deleteTask(host(), id)).toBe(137);
    await host().mustCtr(['containers', 'delete', id]);
  });

  test('a container that ends while containerd is down keeps its exit status', async () => {
    const id = await host().startContainer(['sh', '-c', 'sleep 0.5; exit 21']);
    const pid = await taskPid(host(), id);
    await host().stop('SIGKILL');
    await waitFor('the container to end', () => !isAlive(pid));
    await host().start();
    // From 1.7 on containerd deletes a task that ended meanwhile by itself as it comes back.
    const keeps = host().peer.version.startsWith('1.6');
    await waitFor(
      'its status',
      async () => (await taskStatus(host(), id)) === (keeps ? 'STOPPED' : undefined) || undefined,
    );
    expect(keeps ? await deleteTask(host(), id) : 21).toBe(21);
    await host().mustCtr(['containers', 'delete', id]);
  });

  siltTest('a killed sandbox ends its container, the exit is reported, the shim goes on', async () => {
    const watch = await EventWatch.start(host());
    const id = await host().startContainer(['sh', '-c', 'sleep 1003 & wait']);
    const [shim, pid] = [shimPid(host(), id), await taskPid(host(), id)];
    process.kill(sandboxPid(host(), id), 'SIGKILL');
    const exit = await watch.waitForTopic(id, '/tasks/exit');
    expect(exit.body).toMatchObject({ container_id: id, id, pid, exit_status: 137 });
    await watch.stop();
    expect(isAlive(shim)).toBe(true);
    expect(await taskStatus(host(), id)).toBe('STOPPED');
    await host().remove(id);
    await waitFor('the shim to end with its last container', () => !isAlive(shim));
    await nextOneWorks();
  });

  siltTest(
    'what a killed shim leaves and containerd does not ask to remove goes with the shims that come after',
    async () => {
      const id = await host().startContainer(['sh', '-c', 'sleep 1004 & wait']);
      const shim = shimPid(host(), id);
      const left = [shimSocket(host(), id), join(host().siltRoot, host().namespace, id)];
      await host().stop('SIGKILL');
      process.kill(shim, 'SIGKILL');
      // Without its bundle containerd does not know the task any more when it is back.
      rmSync(host().bundle(id), { recursive: true });
      await host().start();
      await host().mustCtr(['containers', 'delete', id]);
      expect(left.filter((path) => existsSync(path))).toEqual(left);
      const gone = async (): Promise<boolean> => {
        await nextOneWorks();
        return !left.some((path) => existsSync(path));
      };
      await waitFor('what it left to be gone', gone, { timeoutMs: 45_000 });
    },
    60_000,
  );

  siltTest('a pod whose state a killed shim has left is made anew under its name', async () => {
    const id = await host().startContainer(['sh', '-c', 'sleep 1005 & wait']);
    const shim = shimPid(host(), id);
    await host().stop('SIGKILL');
    process.kill(shim, 'SIGKILL');
    rmSync(host().bundle(id), { recursive: true });
    await host().start();
    await host().mustCtr(['containers', 'delete', id]);
    const next = await host().ctr(host().runWords(id, ['echo', 'anew']));
    expect(next).toMatchObject({ code: 0, stderr: '' });
    expect(next.stdout.toString()).toBe('anew\n');
  });

  /** The directories of a container's cgroup, one in each hierarchy. */
  const cgroupsOf = (id: string): string[] => {
    const path = join(host().siltRoot, host().namespace, id, id, 'container.json');
    return (JSON.parse(readFileSync(path, 'utf8')) as Record).cgroup.directories.map((one) => one.path);
  };

  siltTest(
    'a shim that is told to end takes its containers along, one that is paused and one that has left its cgroup too',
    async () => {
      const ids = [await host().startContainer(), await host().startContainer(), await host().startContainer()];
      const pids = [];
      for (const id of ids) pids.push(await taskPid(host(), id));
      const states = ids.map((id) => join(host().siltRoot, host().namespace, id));
      const cgroups = ids.flatMap(cgroupsOf);
      expect(cgroups.filter((path) => !existsSync(path))).toEqual([]);
      await host().mustCtr(['tasks', 'pause', ids[1]!]);
      for (const path of cgroupsOf(ids[2]!)) {
        const [hierarchy = ''] = path.split(`/${host().mark}`);
        writeFileSync(join(hierarchy, 'cgroup.procs'), String(pids[2]));
      }
      const shims = new Set(ids.map((id) => shimPid(host(), id)));
      for (const shim of shims) process.kill(shim, 'SIGTERM');
      await waitFor('the shims to end', () => ![...shims].some(isAlive));
      expect([...states, ...cgroups].filter((path) => existsSync(path))).toEqual([]);
      expect(pids.filter(isAlive)).toEqual([]);
      for (const id of ids) await host().remove(id);
    },
  );
});
