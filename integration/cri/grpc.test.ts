/** The Task service over gRPC, with the one containerd that gets on with a shim that speaks it (docs/kubernetes.md). */
import { criSuite } from '../harness/cri/suite';

criSuite('a shim that speaks gRPC', { cri: { shimProtocol: 'grpc' }, onlyRelease: 1.7 }, (kubelet) => {
  test('runs a pod, its containers and what is executed in them', async () => {
    await kubelet().withPod({}, async (pod) => {
      const one = await pod.run();
      const other = await pod.run(['sh', '-c', 'until [ -e /tmp/end ]; do sleep 0.1; done; exit 7']);
      expect(await pod.sh(one, 'hostname')).toBe(pod.config.metadata.name);
      await expect(pod.exec(one, ['/no/such/program'])).rejects.toThrow('/no/such/program');
      await pod.sh(other, 'touch /tmp/end');
      expect(await pod.exited(other)).toMatchObject({ exitCode: 7 });
      expect(await pod.status(one)).toMatchObject({ state: 'CONTAINER_RUNNING' });
    });
    expect(kubelet().containerd.log()).toMatch(/shim bootstrap parameters.*protocol=grpc/);
  });

  test('is found again by containerd after a crash', async () => {
    await kubelet().withPod({}, async (pod) => {
      await pod.survivesCrash(await pod.run());
    });
  }, 90_000);
});
