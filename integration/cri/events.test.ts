/** What a kubelet hears of pods and containers without asking (evented PLEG). */
import { waitFor } from '../harness';
import type { Kubelet } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

interface Event {
  readonly containerId: string;
  readonly containerEventType: string;
  readonly containersStatuses: readonly { readonly id: string; readonly exitCode: number; readonly reason: string }[];
}

criSuite('events of pods', { needs: 1.7 }, eventsOfPods);
criSuite('events of pods without a pause container', { cri: { sandboxer: 'shim' }, needs: 2 }, eventsOfPods);

function eventsOfPods(kubelet: () => Kubelet): void {
  test('come in order: of the pod, of each container, with exit codes and reasons', async () => {
    const events: Event[] = [];
    const end = kubelet().client.stream('GetContainerEvents', {}, (event) => events.push(event as unknown as Event));
    try {
      const pod = await kubelet().runPod();
      const failing = await pod.run(['sh', '-c', 'exit 3']);
      await pod.exited(failing);
      const hungry = await pod.run(['sh', '-c', 'head -c 200000000 /dev/zero | tail -n 1'], {
        resources: { memoryLimitInBytes: 16 << 20, memorySwapLimitInBytes: 16 << 20 },
      });
      await pod.exited(hungry);
      const killed = await pod.run();
      await pod.stopContainer(killed);
      await pod.remove();
      const of = (id: string): string[] =>
        events.filter(({ containerId }) => containerId === id).map(({ containerEventType }) => containerEventType);
      const life = ['CREATED', 'STARTED', 'STOPPED', 'DELETED'].map((name) => `CONTAINER_${name}_EVENT`);
      await waitFor('the last event', () => of(pod.id).at(-1) === life[3], { detail: () => JSON.stringify(events) });
      for (const id of [pod.id, failing, hungry, killed]) expect([id, of(id)]).toEqual([id, life]);
      const stopped = (id: string): Event =>
        events.find((event) => event.containerId === id && event.containerEventType === life[2])!;
      const statusOf = (id: string): unknown => stopped(id).containersStatuses.find((one) => one.id === id);
      expect(statusOf(failing)).toMatchObject({ exitCode: 3, reason: 'Error' });
      expect(statusOf(hungry)).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
      expect(statusOf(killed)).toMatchObject({ exitCode: 137 });
      // The pod's first, and its end after those of its containers.
      const at = (id: string, what: string): number =>
        events.findIndex(({ containerId, containerEventType }) => containerId === id && containerEventType === what);
      expect(at(pod.id, life[1]!)).toBeLessThan(at(failing, life[0]!));
      expect(at(killed, life[2]!)).toBeLessThan(at(pod.id, life[2]!));
    } finally {
      end();
    }
  });
}
