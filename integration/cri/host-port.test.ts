/** Ports of the host that lead to a pod (CNI's portmap), with a containerd in a network of its own. */
import { runCommand, waitFor } from '../harness';
import { criSuite } from '../harness/cri/suite';

criSuite('ports of the host', { cri: { hostPorts: true }, onlyPeer: 'system' }, (kubelet) => {
  test('lead to the pod as long as it is there', async () => {
    const inHost = (script: string): ReturnType<typeof runCommand> =>
      runCommand(['nsenter', `--net=/proc/${kubelet().containerd.pid}/ns/net`, 'sh', '-c', script]);
    const get = "printf 'GET /motd HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 127.0.0.1 8081";
    const portMappings = [{ protocol: 0, containerPort: 80, hostPort: 8081 }];
    await kubelet().withPod({ more: { portMappings } }, async (pod) => {
      await pod.run(['httpd', '-f', '-p', '80', '-h', '/etc']);
      const answer = await waitFor('an answer', async () => (await inHost(get)).stdout.toString() || undefined);
      expect(answer).toMatch(/200 OK[^]*\r\n\r\nsecond layer\n$/);
    });
    expect((await inHost(get)).stdout.toString()).toBe('');
  });
});
