/** What happens to a pod over its life: containers that end and come again, a pause container that dies, silt's own processes killed. */
import { readFileSync } from 'node:fs';
import { isAlive, onMachinesContainerd, sandboxPid, shimPid, siltTest, sleep, waitFor } from '../harness';
import type { Kubelet } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

// gRPC with the one containerd that gets on with a shim that speaks it (docs/kubernetes.md).
const protocols = [
  ['', {}],
  [', over gRPC', { cri: { shimProtocol: 'grpc' }, onlyRelease: 1.7 }],
  [', without a pause container', { cri: { sandboxer: 'shim' }, needs: 2 }],
] as const;
for (const [how, settings] of protocols) criSuite(`the life of a pod${how}`, settings, lifeOfPods);

function lifeOfPods(kubelet: () => Kubelet): void {
  test('a container that crashes is started again beside its siblings, which do not notice', async () => {
    await kubelet().withPod({}, async (pod) => {
      const sibling = await pod.run(['sh', '-c', 'echo $$ > /tmp/me; exec sleep 1000'], { name: 'sibling' });
      const before = await pod.status(sibling);
      for (let attempt = 0; attempt < 3; attempt++) {
        const id = await pod.run(['sh', '-c', `exit ${attempt + 40}`], { name: 'crashing', attempt });
        expect(await pod.exited(id)).toMatchObject({ exitCode: attempt + 40, reason: 'Error' });
        await pod.removeContainer(id);
      }
      expect(await pod.status(sibling)).toEqual(before);
    });
  });

  test('containers are removed in any order, the pod before some of them', async () => {
    await kubelet().withPod({}, async (pod) => {
      const ids = [];
      for (let i = 0; i < 4; i++) ids.push(await pod.run());
      const created = await pod.create(['true']);
      for (const id of [ids[2]!, ids[0]!]) {
        await pod.stopContainer(id);
        await pod.removeContainer(id);
      }
      expect(await pod.status(ids[1]!)).toMatchObject({ state: 'CONTAINER_RUNNING' });
      await pod.removeContainer(created);
    });
  });

  test('calls that are repeated do nothing more', async () => {
    const pod = await kubelet().runPod();
    const id = await pod.run();
    for (let i = 0; i < 2; i++) await pod.stopContainer(id);
    for (let i = 0; i < 2; i++) await pod.removeContainer(id);
    for (let i = 0; i < 2; i++) await pod.stop();
    await expect(pod.run()).rejects.toThrow(pod.id);
    await pod.remove();
    await pod.client.call('RemovePodSandbox', { id: pod.id });
  });

  test('a container that the kernel kills for its memory is reported as that, and its sibling runs on', async () => {
    await kubelet().withPod({}, async (pod) => {
      const sibling = await pod.run();
      const hungry = await pod.run(['sh', '-c', 'head -c 200000000 /dev/zero | tail -n 1'], {
        resources: { memoryLimitInBytes: 16 << 20, memorySwapLimitInBytes: 16 << 20 },
      });
      expect(await pod.exited(hungry)).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
      expect(await pod.status(sibling)).toMatchObject({ state: 'CONTAINER_RUNNING', reason: '' });
    });
  });

  test('the end of the process that holds the pod is the end of its readiness, and the pod can be removed', async () => {
    const pod = await kubelet().runPod();
    const id = await pod.run();
    const { info } = await pod.podStatus();
    process.kill(info['pid'] as number, 'SIGKILL');
    await waitFor('the pod to be not ready', async () => (await pod.podStatus()).state === 'SANDBOX_NOTREADY');
    await pod.remove();
    await expect(pod.status(id)).rejects.toThrow();
  });

  siltTest('all containers of a pod have one shim and one sandbox, which end with it', async () => {
    const pod = await kubelet().runPod();
    const { containerd } = kubelet();
    const ids = [await pod.run(), await pod.run(), await pod.run()];
    const shims = new Set(ids.map((id) => shimPid(containerd, id)));
    expect(shims.size).toBe(1);
    const [shim] = shims;
    const sandbox = sandboxPid(containerd, pod.id);
    await pod.remove();
    await waitFor('shim and sandbox to end', () => !isAlive(shim!) && !isAlive(sandbox));
  });

  for (const victim of ['shim', 'sandbox'] as const) {
    siltTest(
      `a ${victim} that is killed takes the pod with it, which is cleaned and comes again under its name`,
      async () => {
        const { containerd } = kubelet();
        const name = `killed-${victim}`;
        const pod = await kubelet().runPod({ name });
        const id = await pod.run();
        const shim = shimPid(containerd, id);
        const pid = victim === 'shim' ? shim : sandboxPid(containerd, pod.id);
        const inits = readFileSync(`/proc/${shim}/task/${shim}/children`, 'latin1').trim().split(' ').map(Number);
        process.kill(pid, 'SIGKILL');
        await waitFor('the container to be reported', async () => (await pod.status(id)).state === 'CONTAINER_EXITED');
        await waitFor('the pod to be not ready', async () => (await pod.podStatus()).state === 'SANDBOX_NOTREADY');
        await waitFor('every process to end', () => !inits.some(isAlive));
        await pod.remove();
        await kubelet().withPod({ name }, async (again) => {
          const container = await again.run();
          expect(await again.sh(container, 'hostname')).toBe(name);
        });
      },
    );
  }

  test('containerd finds pods again after a crash of its own, and goes on with them', async () => {
    const pod = await kubelet().runPod();
    const running = await pod.run();
    const ending = await pod.run(['sh', '-c', 'until [ -e /tmp/end ]; do sleep 0.1; done; exit 9']);
    const { info } = await pod.podStatus();
    await kubelet().crashContainerd(() => {
      expect(isAlive(info['pid'] as number)).toBe(true);
      return Promise.resolve();
    });
    expect(await pod.podStatus()).toMatchObject({ state: 'SANDBOX_READY' });
    expect(await pod.sh(running, 'hostname')).toBe(pod.config.metadata.name);
    await pod.sh(ending, 'touch /tmp/end');
    expect(await pod.exited(ending)).toMatchObject({ exitCode: 9 });
    const late = await pod.run();
    expect(await pod.sh(late, 'readlink /proc/self/ns/net')).toBe(await pod.sh(running, 'readlink /proc/self/ns/net'));
    await pod.remove();
  }, 90_000);

  test('a container that ends while containerd is away is reported when it is back', async () => {
    const pod = await kubelet().runPod();
    const ending = await pod.run(['sh', '-c', 'sleep 1; exit 5']);
    await kubelet().crashContainerd(() => sleep(1500));
    // From 1.7 on containerd deletes a task without processes when it starts, and knows its exit code no more.
    expect([5, 255]).toContain((await pod.exited(ending)).exitCode);
    await pod.remove();
  }, 90_000);

  onMachinesContainerd(
    'a pod of thirty containers runs',
    async () => {
      await kubelet().withPod({}, async (pod) => {
        const ids = await Promise.all(
          Array.from({ length: 30 }, (_, i) => pod.run(['sleep', '1000'], { name: `c${i}` })),
        );
        const names = await Promise.all(ids.map((id) => pod.sh(id, 'hostname')));
        expect(new Set(names)).toEqual(new Set([pod.config.metadata.name]));
      });
    },
    120_000,
  );
}
