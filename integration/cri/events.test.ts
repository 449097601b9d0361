/** What a kubelet hears of pods and containers without asking (evented PLEG). */
import { EventWatch, waitFor } from '../harness';
import type { Kubelet } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

interface Event {
  readonly containerId: string;
  readonly containerEventType: string;
  readonly containersStatuses: readonly { readonly id: string; readonly exitCode: number; readonly reason: string }[];
}

criSuite('events of pods', {}, (kubelet) => tasksOfPods(kubelet, true));
criSuite('what a kubelet hears of pods', { needs: 1.7 }, eventsOfPods);
criSuite('events of pods without a pause container', { cri: { sandboxer: 'shim' }, needs: 2 }, (kubelet) => {
  tasksOfPods(kubelet, false);
  eventsOfPods(kubelet);
});

/** @param held by a pause container, which is a task of the pod's own */
function tasksOfPods(kubelet: () => Kubelet, held: boolean): void {
  test('containerd’s, of the pod around those of its containers, each in order, with pids and statuses', async () => {
    const watch = await EventWatch.start(kubelet().containerd);
    const pod = await kubelet().runPod();
    const ends = await pod.run(['sh', '-c', 'sleep 0.2; exit 3']);
    const stays = await pod.run();
    const pid = await pod.pid(stays);
    await pod.exited(ends);
    await pod.stopContainer(stays);
    await pod.remove();
    await watch.waitForTopic(pod.id, '/tasks/delete');
    await watch.stop();
    const topics = (id: string): string[] => watch.of(id).map(({ topic }) => topic);
    const life = ['create', 'start', 'exit', 'delete'].map((name) => `/tasks/${name}`);
    for (const id of [ends, stays]) expect(topics(id)).toEqual(life);
    for (const { body } of watch.of(stays).filter(({ topic }) => topic !== '/tasks/exit'))
      expect(body).toMatchObject({ pid });
    const status = (id: string): unknown => watch.of(id).at(-1)!.body['exit_status'];
    expect([status(ends), status(stays)]).toEqual([3, 137]);
    // Of a pod without a task containerd itself tells the end of one, once it has no shim any more.
    expect(topics(pod.id)).toEqual(held ? life : life.slice(2));
    const order = watch.events.map(({ topic, body }) => `${topic} ${String(body['container_id'])}`);
    const at = (topic: string, id: string): number => order.indexOf(`/tasks/${topic} ${id}`);
    if (held) expect(at('start', pod.id)).toBeLessThan(at('create', ends));
    for (const id of [ends, stays]) expect(at('exit', pod.id)).toBeGreaterThan(at('exit', id));
  });
}

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
