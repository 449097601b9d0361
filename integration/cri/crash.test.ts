/** containerd is killed and comes back: in the middle of a kubelet's calls, with pods in every state, and to shims and sandboxes that are gone. */
import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { isAlive, sandboxPid, shimPid, siltTest, sleep, waitFor } from '../harness';
import type { Kubelet, TestPod } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

/** A bundle that containerd was about to delete; it does not look at such names again. */
const containerdLeaves = /\/k8s\.io\/\.[0-9a-f]{64}(\/|$)/;

for (const [how, settings] of [
  ['with a pause container', {}],
  ['without one', { cri: { sandboxer: 'shim' }, needs: 2 }],
] as const) {
  criSuite(`a containerd that is killed, pods ${how}`, { ...settings, containerdLeaves }, crashes);
}

function crashes(kubelet: () => Kubelet): void {
  const isReady = async (pod: TestPod): Promise<boolean> => (await pod.podStatus()).state === 'SANDBOX_READY';

  test('finds every pod and container as it was', async () => {
    const [pod, stopped] = [await kubelet().runPod(), await kubelet().runPod()];
    const running = await pod.run();
    const created = await pod.create(['sleep', '1000']);
    const failed = await pod.run(['sh', '-c', 'exit 7']);
    await pod.exited(failed);
    const killed = await stopped.run();
    await stopped.stop();
    const states = (): Promise<unknown[]> =>
      Promise.all(
        [running, created, failed, killed].map(async (id) => {
          const { state, exitCode, reason, startedAt, finishedAt } = await pod.status(id);
          return { id, state, exitCode, reason, startedAt, finishedAt };
        }),
      );
    const before = await states();
    await kubelet().crashContainerd();
    expect(await states()).toEqual(before);
    expect(before).toMatchObject([
      { state: 'CONTAINER_RUNNING' },
      { state: 'CONTAINER_CREATED' },
      { state: 'CONTAINER_EXITED', exitCode: 7 },
      { state: 'CONTAINER_EXITED', exitCode: 137 },
    ]);
    expect([await isReady(pod), await isReady(stopped)]).toEqual([true, false]);
    await pod.start(created);
    expect(await pod.sh(created, 'hostname')).toBe(await pod.sh(running, 'hostname'));
    await stopped.remove();
    await pod.remove();
  }, 90_000);

  // Not earlier, and with no CreateContainer among the calls: what containerd's own snapshotter was doing when it was killed can be in its way later.
  for (const afterMs of [0, 50]) {
    test(`${afterMs} ms after the runtime has heard of calls: they can be made again, and nothing of the first ones stays`, async () => {
      const { containerd } = kubelet();
      const [ends, grows] = [await kubelet().runPod(), await kubelet().runPod()];
      const [leaving, sibling] = [await ends.run(), await grows.run()];
      const waiting = await grows.create(['sleep', '1000'], { name: 'waiting' });
      const name = `begun-after-${afterMs}`;
      // Of tasks, and of pods that have none.
      const tasks = dirname(containerd.bundle(waiting));
      const places = [tasks, tasks.replace('runtime.v2.task', 'sandbox.controller.v1.shim')];
      const bundles = (): string[] => places.filter((path) => existsSync(path)).flatMap((path) => readdirSync(path));
      const known = new Set(bundles());
      const settled = Promise.allSettled([ends.stop(), grows.start(waiting), kubelet().runPod({ name })]);
      await waitFor('the new bundles', () => {
        const fresh = bundles().filter((id) => !known.has(id));
        return fresh.includes(waiting) && fresh.length > 1;
      });
      await sleep(afterMs);
      await kubelet().crashContainerd();
      await settled;
      expect(await isReady(grows)).toBe(true);
      expect(await grows.sh(sibling, 'echo fine')).toBe('fine');
      await ends.remove();
      await expect(ends.status(leaving)).rejects.toThrow();
      // As a kubelet does that has heard nothing: away with it and a new attempt.
      await grows.stopContainer(waiting);
      await grows.removeContainer(waiting);
      const again = await grows.run(['sleep', '1000'], { name: 'waiting', attempt: 1 });
      expect(await grows.sh(again, 'hostname')).toBe(await grows.sh(sibling, 'hostname'));
      await kubelet().removePodsNamed(name);
      await kubelet().withPod({ name }, async (pod) => {
        expect(await pod.sh(await pod.run(), 'hostname')).toBe(name);
      });
      await grows.remove();
    }, 90_000);
  }

  for (const victim of ['shim', 'sandbox'] as const) {
    siltTest(
      `hears of a ${victim} that was killed meanwhile, and the pod comes again under its name`,
      async () => {
        const { containerd } = kubelet();
        const name = `gone-${victim}`;
        const [pod, other] = [await kubelet().runPod({ name }), await kubelet().runPod()];
        const [container, beside] = [await pod.run(), await other.run()];
        const pid = victim === 'shim' ? shimPid(containerd, container) : sandboxPid(containerd, pod.id);
        const shared = victim === 'shim' && shimPid(containerd, beside) === pid;
        await kubelet().crashContainerd(async () => {
          process.kill(pid, 'SIGKILL');
          await waitFor(`the ${victim} to end`, () => !isAlive(pid));
        });
        await waitFor('the pod to be not ready', async () => !(await isReady(pod)));
        expect(await pod.exited(container)).toMatchObject({ state: 'CONTAINER_EXITED' });
        if (shared) await other.exited(beside);
        else expect(await other.sh(beside, 'echo fine')).toBe('fine');
        await pod.remove();
        await kubelet().withPod({ name }, async (again) => {
          expect(await again.sh(await again.run(), 'hostname')).toBe(name);
        });
        await other.remove();
      },
      90_000,
    );
  }
}
