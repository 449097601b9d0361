/**
 * Pods without a pause container: the shim is the sandbox (containerd 2). Over gRPC the same service is called without containerd
 * (containerd/shim-protocols.test.ts), since none has both: see docs/kubernetes.md.
 */
import { readlinkSync } from 'node:fs';
import { Client } from 'ttrpc';
import { sandboxMethods, sandboxServiceName } from '../../proto';
import { isAlive, sandboxPid, shimPid, shimSocket, waitFor } from '../harness';
import { criSuite } from '../harness/cri/suite';

for (const version of [2, 3]) {
  const shimProtocol = version === 2 ? undefined : ('ttrpc' as const);
  const cri = { sandboxer: 'shim', ...(shimProtocol ? { shimProtocol } : {}) } as const;
  criSuite(`the sandbox API of a shim of version ${version}`, { cri, needs: 2 }, (kubelet) => {
    test('a pod runs containers, which share what is the pod’s', async () => {
      await kubelet().withPod({ linux: { sysctls: { 'net.ipv4.ip_local_port_range': '1024 65000' } } }, async (pod) => {
        const one = await pod.run();
        const other = await pod.run();
        expect(await pod.sh(one, 'hostname; cat /etc/hostname')).toBe(
          `${pod.config.metadata.name}\n${pod.config.metadata.name}`,
        );
        expect(await pod.sh(one, 'cat /proc/sys/net/ipv4/ip_local_port_range')).toBe('1024\t65000');
        for (const kind of ['net', 'ipc', 'uts']) {
          const namespace = await pod.sh(one, `readlink /proc/self/ns/${kind}`);
          expect(await pod.sh(other, `readlink /proc/self/ns/${kind}`)).toBe(namespace);
          expect(namespace).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
        }
        const { ip, state } = await pod.podStatus();
        expect(state).toBe('SANDBOX_READY');
        expect(await pod.sh(one, 'ip -4 addr show eth0')).toContain(`inet ${ip}/24`);
        expect(await pod.sh(one, 'cat /proc/1/comm; set -- /proc/[0-9]*; echo $#; test -d /dev/shm && echo shm')).toBe(
          'sleep\n2\nshm',
        );
        await pod.stopContainer(one);
        expect(await pod.status(one)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137 });
        expect(await pod.status(other)).toMatchObject({ state: 'CONTAINER_RUNNING' });
      });
    });

    test('shared process ids have a process 1 of their own, and the sandbox is not seen', async () => {
      await kubelet().withPod({ pid: 'POD' }, async (pod) => {
        const one = await pod.run(['sleep', '1001']);
        const other = await pod.run(['sleep', '1002']);
        expect(await pod.sh(one, 'ps -o pid,comm | grep -E "silt|sleep"')).toMatch(
          /^ *1 silt-holder\n *\d+ sleep\n *\d+ sleep$/,
        );
        expect(await pod.sh(one, 'readlink /proc/self/ns/pid')).toBe(await pod.sh(other, 'readlink /proc/self/ns/pid'));
        expect((await pod.exec(one, ['ls', '/proc/1/root/'])).code).not.toBe(0);
      });
    });

    // Not with the host's network too: containerd 2.1 then panics in NewBundle.
    test('the host’s namespaces, when the pod asks for them', async () => {
      await kubelet().withPod({ ipc: 'NODE', pid: 'NODE' }, async (pod) => {
        const container = await pod.run();
        for (const kind of ['ipc', 'pid']) {
          expect(await pod.sh(container, `readlink /proc/self/ns/${kind}`)).toBe(readlinkSync(`/proc/self/ns/${kind}`));
        }
      });
    });

    test('containerd finds the pod again after a crash', async () => {
      await kubelet().withPod({}, async (pod) => {
        await pod.survivesCrash(await pod.run());
      });
    }, 90_000);

    test('the pod’s metrics are those of its cgroup', async () => {
      await kubelet().withPod({}, async (pod) => {
        const container = await pod.run();
        const client = await Client.connect(shimSocket(kubelet().containerd, container));
        const call = { service: sandboxServiceName, method: 'SandboxMetrics', ...sandboxMethods.SandboxMetrics };
        const { metrics } = await client.call(call, { sandboxId: pod.id });
        await expect(client.call(call, { sandboxId: 'another' })).rejects.toThrow('there is no sandbox another');
        await client.close();
        expect(metrics?.id).toBe(pod.id);
        expect(metrics?.data?.typeUrl).toMatch(/^io\.containerd\.cgroups\.v[12]\.Metrics$/);
        expect(metrics?.data?.value?.length).toBeGreaterThan(50);
      });
    });

    for (const victim of ['shim', 'sandbox'] as const) {
      test(`a killed ${victim} is the end of the pod, which is removed and comes again under its name`, async () => {
        const { containerd } = kubelet();
        const name = `killed-${victim}`;
        const pod = await kubelet().runPod({ name });
        const container = await pod.run();
        const pid = victim === 'shim' ? shimPid(containerd, container) : sandboxPid(containerd, pod.id);
        process.kill(pid, 'SIGKILL');
        // For a moment containerd asks the connection that has just ended.
        await waitFor('the pod to be not ready', () =>
          pod.podStatus().then(
            ({ state }) => state === 'SANDBOX_NOTREADY',
            () => false,
          ),
        );
        await waitFor(
          'the container to be reported',
          async () => (await pod.status(container)).state === 'CONTAINER_EXITED',
        );
        await waitFor(`the ${victim} to end`, () => !isAlive(pid));
        await pod.remove();
        await kubelet().withPod({ name }, async (again) => {
          expect(await again.sh(await again.run(), 'hostname')).toBe(name);
        });
      });
    }
  });
}
