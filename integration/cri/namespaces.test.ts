/** Which namespaces the containers of a pod share with each other and with the host. */
import { readFileSync, readlinkSync } from 'node:fs';
import { sandboxPid, siltTest } from '../harness';
import { criSuite } from '../harness/cri/suite';
import { type TestPod } from '../harness/cri/kubelet';

const hostNamespace = (kind: string): string => readlinkSync(`/proc/self/ns/${kind}`);
const commOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
const namespaceIn = (pod: TestPod, container: string, kind: string): Promise<string> =>
  pod.sh(container, `readlink /proc/self/ns/${kind}`);

criSuite('namespaces of a pod', {}, (kubelet) => {
  test('network, ipc and host name are the pod’s, process ids the container’s own', async () => {
    await kubelet().withPod({}, async (pod) => {
      const one = await pod.run();
      const other = await pod.run();
      for (const kind of ['net', 'ipc', 'uts']) {
        expect(await namespaceIn(pod, one, kind)).toBe(await namespaceIn(pod, other, kind));
        expect(await namespaceIn(pod, one, kind)).not.toBe(hostNamespace(kind));
      }
      expect(await namespaceIn(pod, one, 'pid')).not.toBe(await namespaceIn(pod, other, 'pid'));
      for (const container of [one, other]) expect(await pod.sh(container, 'cat /proc/1/comm')).toBe('sleep');
      expect(await pod.sh(one, 'set -- /proc/[0-9]*; echo $#')).toBe('2');
    });
  });

  test('containers see each other’s processes when the pod shares process ids, and the pause container is 1', async () => {
    await kubelet().withPod({ pid: 'POD' }, async (pod) => {
      const one = await pod.run(['sleep', '1001']);
      const other = await pod.run(['sleep', '1002']);
      expect(await pod.sh(one, 'cat /proc/1/comm')).toBe('pause');
      expect(await pod.sh(one, 'ps -o comm,args | grep "sleep 100[0-9]$" | wc -l')).toBe('2');
      expect(await namespaceIn(pod, one, 'pid')).toBe(await namespaceIn(pod, other, 'pid'));
      // An orphan is reaped by the pause container.
      await pod.sh(one, '(true & exec sleep 0.1) & true');
      await pod.stopContainer(one);
      expect(await pod.status(one)).toMatchObject({ exitCode: 137 });
      expect(await pod.sh(other, 'ps -o args | grep -c "sleep 100[0-9]$"')).toBe('1');
    });
  });

  test('a pod with the host’s process ids sees the host’s processes, and its end ends only its own', async () => {
    await kubelet().withPod({ pid: 'NODE' }, async (pod) => {
      const container = await pod.run();
      expect(await namespaceIn(pod, container, 'pid')).toBe(hostNamespace('pid'));
      expect(await pod.sh(container, 'cat /proc/1/comm')).toBe(commOf(1));
      expect(await pod.sh(container, `cat /proc/${process.pid}/comm`)).toBe(commOf(process.pid));
    });
  });

  siltTest('the sandbox is one of the host’s processes, and nobody else’s; what it holds is nobody’s', async () => {
    const { containerd } = kubelet();
    const seen = (pod: TestPod, id: string): Promise<string> =>
      pod.sh(id, 'cat /proc/[0-9]*/comm 2> /dev/null | grep -c ^silt- || true');
    for (const pid of ['CONTAINER', 'POD'] as const) {
      await kubelet().withPod({ pid }, async (pod) => {
        expect(await seen(pod, await pod.run())).toBe('0');
      });
    }
    await kubelet().withPod({}, async (other) => {
      await other.run();
      await kubelet().withPod({ pid: 'NODE' }, async (pod) => {
        const id = await pod.run();
        for (const one of [pod, other]) {
          const sandbox = sandboxPid(containerd, one.id);
          expect(await pod.sh(id, `cat /proc/${sandbox}/comm`)).toBe('silt-sandbox');
          const { code, stderr } = await pod.exec(id, ['ls', `/proc/${sandbox}/root/`]);
          expect([code !== 0, stderr]).toEqual([true, expect.stringContaining('Permission denied')]);
        }
      });
    });
  });

  test('a debug container sees the processes of its target', async () => {
    await kubelet().withPod({}, async (pod) => {
      const target = await pod.run(['sleep', '1003']);
      const namespaceOptions = { network: 'POD', pid: 'TARGET', ipc: 'POD', targetId: target };
      const debug = await pod.run(['sleep', '1004'], { security: { namespaceOptions } });
      expect(await pod.sh(debug, 'cat /proc/1/cmdline | tr "\\0" " "')).toBe('sleep 1003');
      await pod.stopContainer(debug);
      expect(await pod.status(target)).toMatchObject({ state: 'CONTAINER_RUNNING' });
    });
  });

  test('host network and host ipc are the host’s', async () => {
    await kubelet().withPod({ network: 'NODE', ipc: 'NODE' }, async (pod) => {
      const container = await pod.run();
      expect(await namespaceIn(pod, container, 'net')).toBe(hostNamespace('net'));
      expect(await namespaceIn(pod, container, 'ipc')).toBe(hostNamespace('ipc'));
      expect((await pod.podStatus()).ip).toBe('');
    });
  });

  test('one pod reaches another by its address', async () => {
    await kubelet().withPod({}, async (server) => {
      const { ip } = await server.podStatus();
      await server.run(['httpd', '-f', '-p', '80', '-h', '/etc']);
      await kubelet().withPod({}, async (client) => {
        const container = await client.run();
        // Debian's static busybox has a wget that crashes over name resolution.
        const answer = await client.sh(container, `printf 'GET /motd HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${ip} 80`);
        expect(answer).toMatch(/^HTTP\/1.[01] 200 OK[^]*\r\n\r\nsecond layer$/);
      });
    });
  });

  test('sysctls of the pod hold in its containers', async () => {
    await kubelet().withPod({ linux: { sysctls: { 'net.ipv4.ip_local_port_range': '1024 65000' } } }, async (pod) => {
      const container = await pod.run();
      expect(await pod.sh(container, 'cat /proc/sys/net/ipv4/ip_local_port_range')).toBe('1024\t65000');
    });
  });

  test('the namespaces that containerd reads under /proc are the pod’s', async () => {
    await kubelet().withPod({}, async (pod) => {
      const container = await pod.run();
      const { info } = await pod.podStatus();
      const pid = info['pid'] as number;
      expect(readlinkSync(`/proc/${pid}/ns/net`)).toBe(await namespaceIn(pod, container, 'net'));
      expect(readlinkSync(`/proc/${pid}/ns/ipc`)).toBe(await namespaceIn(pod, container, 'ipc'));
    });
  });
});
