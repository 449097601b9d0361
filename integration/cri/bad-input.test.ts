/** Pods and containers that cannot be: one clear error each, and the rest of the pod runs on. */
import { Client } from 'ttrpc';
import { taskMethods, taskServiceNames } from '../../proto';
import { isSilt, shimSocket, siltTest } from '../harness';
import type { Kubelet } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

criSuite('bad input to pods', {}, badInput);
criSuite('bad input to pods without a pause container', { cri: { sandboxer: 'shim' }, needs: 2 }, badInput);

function badInput(kubelet: () => Kubelet): void {
  siltTest('a second container with the id of one that runs is refused, and the first one runs on', async () => {
    const { containerd } = kubelet();
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run();
      const client = await Client.connect(shimSocket(containerd, id));
      const create = { service: taskServiceNames[2], method: 'Create', ...taskMethods.Create };
      const request = taskMethods.Create.request.decode(new Uint8Array());
      const again = client.call(create, { ...request, id, bundle: containerd.bundle(id) });
      await expect(again).rejects.toThrow(`container ${id} exists already`);
      await client.close();
      expect(await pod.sh(id, 'echo fine')).toBe('fine');
    });
  });

  siltTest('a container whose annotation names a pod that does not run is refused by name', async () => {
    const { containerd } = kubelet();
    const id = containerd.newId();
    const flags = ['--annotation', 'io.kubernetes.cri.sandbox-id=nosuchpod', '--rm'];
    const { code, stderr } = await containerd.ctr(containerd.runWords(id, ['true'], { flags }));
    expect(code).toBe(1);
    expect(stderr).toContain(
      `cannot start container ${id}: its annotation io.kubernetes.cri.sandbox-id names the pod nosuchpod, which does not run; start the pod first`,
    );
  });

  test('a program that is not there fails its container, with the reason in the status', async () => {
    await kubelet().withPod({}, async (pod) => {
      const fine = await pod.run();
      const broken = await pod.create(['/no/such/program']);
      await expect(pod.start(broken)).rejects.toThrow('/no/such/program');
      expect(await pod.status(broken)).toMatchObject({
        state: 'CONTAINER_EXITED',
        exitCode: 128,
        reason: 'StartError',
        message: expect.stringContaining('/no/such/program') as string,
      });
      await expect(pod.exec(fine, ['/no/such/program'])).rejects.toThrow('/no/such/program');
      expect(await pod.sh(fine, 'echo fine')).toBe('fine');
    });
  });

  test('an exec that takes too long is ended', async () => {
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run();
      await expect(pod.exec(id, ['sleep', '1000'], 1)).rejects.toThrow(/timed? ?out|deadline|exceeded/i);
      expect(await pod.sh(id, 'ps -o args | grep -c "^sleep 1000"')).toBe('1');
    });
  });

  test('containers that come while their pod is stopped run or are refused in words, and nothing of them stays', async () => {
    const outcomes: string[] = [];
    for (let round = 0; round < 3; round++) {
      const pod = await kubelet().runPod();
      const told = (call: Promise<unknown>): Promise<void> =>
        call.then(
          () => void outcomes.push('runs'),
          (error: unknown) => void outcomes.push((error as Error).message),
        );
      const ids = await Promise.all(Array.from({ length: 6 }, () => pod.create(['sleep', '1000'])));
      const calls = [...ids.map((id) => told(pod.start(id))), ...ids.map(() => told(pod.run()))];
      await pod.stop();
      await Promise.all(calls);
      await pod.remove();
    }
    // Which refusal depends on how far both had come, and some are containerd's own; none is of a step that failed half-way.
    const halfWay = isSilt ? /EPIPE|ESRCH|setns|INTERNAL/ : /^$/;
    expect(outcomes).toHaveLength(36);
    expect(outcomes.filter((outcome) => halfWay.test(outcome))).toEqual([]);
  });

  test('a container for a pod that has been stopped is refused', async () => {
    await kubelet().withPod({}, async (pod) => {
      const created = await pod.create(['true']);
      await pod.stop();
      await expect(pod.start(created)).rejects.toThrow();
      await expect(pod.run()).rejects.toThrow();
    });
  });
}
