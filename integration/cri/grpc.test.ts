/** The Task service over gRPC, with the one containerd that gets on with a shim that speaks it; life.test.ts has more of it. */
import { criSuite } from '../harness/cri/suite';

criSuite('a shim that speaks gRPC', { cri: { shimProtocol: 'grpc' }, onlyRelease: 1.7 }, (kubelet) => {
  test('has announced it, and runs what is executed in its containers', async () => {
    await kubelet().withPod({}, async (pod) => {
      const one = await pod.run();
      expect(await pod.sh(one, 'hostname')).toBe(pod.config.metadata.name);
      await expect(pod.exec(one, ['/no/such/program'])).rejects.toThrow('/no/such/program');
    });
    expect(kubelet().containerd.log()).toMatch(/shim bootstrap parameters.*protocol=grpc/);
  });
});
