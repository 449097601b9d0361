/** CRI calls that come twice or at once: those that CRI calls idempotent are, and the others are refused in words and change nothing. */
import { isAlive, waitFor } from '../harness';
import type { Kubelet } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

criSuite('calls of CRI that come again', {}, repeatedCalls);
criSuite(
  'calls of CRI that come again without a pause container',
  { cri: { sandboxer: 'shim' }, needs: 2 },
  repeatedCalls,
);

function repeatedCalls(kubelet: () => Kubelet): void {
  test('stops of one container that come at once are all answered, however long each of them waits', async () => {
    await kubelet().withPod({}, async (pod) => {
      const deaf = await pod.run(['sh', '-c', "trap '' TERM; touch /deaf; while :; do sleep 0.1; done"]);
      await pod.sh(deaf, 'until [ -e /deaf ]; do sleep 0.05; done');
      await Promise.all([2, 2, 1, 1].map((seconds) => pod.stopContainer(deaf, seconds)));
      expect(await pod.status(deaf)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137, reason: 'Error' });
      await pod.stopContainer(deaf);
    });
  });

  test('a container that runs is not started again, one that has ended neither, and nothing is run in it', async () => {
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run();
      const before = await pod.status(id);
      await expect(pod.start(id)).rejects.toThrow(/RUNNING/);
      expect(await pod.status(id)).toEqual(before);
      expect(await pod.sh(id, 'echo fine')).toBe('fine');
      await pod.stopContainer(id);
      await expect(pod.start(id)).rejects.toThrow(/EXITED/);
      await expect(pod.exec(id, ['true'])).rejects.toThrow(/EXITED/);
      expect(await pod.podStatus()).toMatchObject({ state: 'SANDBOX_READY' });
    });
  });

  test('a container that was never started is stopped and removed, one that runs is removed with its processes', async () => {
    await kubelet().withPod({}, async (pod) => {
      const created = await pod.create(['true']);
      await pod.stopContainer(created);
      await pod.removeContainer(created);
      const id = await pod.run();
      const pid = await pod.pid(id);
      await pod.removeContainer(id);
      await waitFor('its process to end', () => !isAlive(pid));
      for (const gone of [created, id]) {
        await expect(pod.status(gone)).rejects.toThrow(gone);
        await pod.removeContainer(gone);
      }
    });
  });

  test('a second pod, or container, of one name and attempt is refused, and the first runs on', async () => {
    await kubelet().withPod({ name: 'twice' }, async (pod) => {
      await expect(kubelet().runPod({ name: 'twice' })).rejects.toThrow(/reserved/);
      const id = await pod.run(['sleep', '1000'], { name: 'same' });
      await expect(pod.create(['sleep', '1000'], { name: 'same' })).rejects.toThrow(/reserved/);
      expect(await pod.sh(id, 'hostname')).toBe('twice');
      await pod.removeContainer(id);
      expect(await pod.sh(await pod.run(['sleep', '1000'], { name: 'same' }), 'hostname')).toBe('twice');
    });
  });

  test('a pod whose holding process is gone is stopped and removed as often as one likes', async () => {
    const pod = await kubelet().runPod();
    const id = await pod.run();
    process.kill((await pod.podStatus()).info['pid'] as number, 'SIGKILL');
    await waitFor('the pod to be not ready', async () => (await pod.podStatus()).state === 'SANDBOX_NOTREADY');
    await expect(pod.run()).rejects.toThrow();
    for (let i = 0; i < 2; i++) await pod.stopContainer(id);
    await pod.stop();
    await pod.remove();
    await pod.client.call('RemovePodSandbox', { id: pod.id });
  });
}
