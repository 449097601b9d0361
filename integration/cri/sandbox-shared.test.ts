/** What the containers of a pod without a pause container have in common, seen from inside of them. */
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { peerRelease, testIf } from '../harness';
import { criSuite } from '../harness/cri/suite';
import type { PodOptions } from '../harness/cri/kubelet';

const ids = [{ hostId: 300_000, containerId: 0, length: 65536 }];
const usernsOptions = { mode: 'POD', uids: ids, gids: ids };
const hostUsersFalse: PodOptions = { security: { namespaceOptions: { usernsOptions } } };

for (const sandboxer of ['podsandbox', 'shim'] as const) {
  const settings = { cri: { sandboxer }, needs: sandboxer === 'shim' ? 2 : 1 };
  criSuite(`what containers of a pod share, sandboxer ${sandboxer}`, settings, (kubelet) => {
    const ofPods: readonly (readonly [string, PodOptions, number])[] = [
      ['', {}, 1],
      [', with ids that the kubelet has chosen', hostUsersFalse, 1.7],
    ];
    for (const [how, options, needs] of ofPods) {
      testIf(peerRelease() >= needs, `needs containerd ${needs}`)(
        `/dev/shm is one, of 64 MiB, for all of them and nobody else${how}`,
        async () => {
          await kubelet().withPod(options, async (pod) => {
            const one = await pod.run(['sh', '-c', 'umask 0; echo first > /dev/shm/file; exec sleep 1000']);
            const other = await pod.run();
            expect(await pod.sh(other, 'cat /dev/shm/file; echo second > /dev/shm/file')).toBe('first');
            expect(await pod.sh(one, 'cat /dev/shm/file')).toBe('second');
            expect(await pod.sh(one, 'df -k /dev/shm | tail -n 1')).toMatch(/ 65536 /);
            expect(await pod.sh(other, 'stat -c "%a %u:%g" /dev/shm')).toBe('1777 0:0');
            // containerd binds its own without them.
            const flags = ['rw', ...(sandboxer === 'shim' ? ['nosuid', 'nodev', 'noexec'] : [])];
            const mounted = await pod.sh(other, 'grep " /dev/shm " /proc/self/mounts');
            expect(mounted.split(' ')[3]!.split(',')).toEqual(expect.arrayContaining(flags));
            // It is the pod's: it outlives those who wrote to it, and whoever comes later has it.
            for (const id of [one, other]) await pod.stopContainer(id);
            expect(await pod.sh(await pod.run(), 'cat /dev/shm/file')).toBe('second');
            await kubelet().withPod(options, async (another) => {
              expect(await another.sh(await another.run(), 'ls -A /dev/shm')).toBe('');
            });
          });
        },
      );
    }

    test('containers that come at once have the same /dev/shm', async () => {
      await kubelet().withPod({}, async (pod) => {
        const all = await Promise.all(Array.from({ length: 5 }, () => pod.run()));
        const devices = await Promise.all(all.map((id) => pod.sh(id, 'stat -c %d /dev/shm')));
        expect(new Set(devices).size).toBe(1);
      });
    });

    test('a volume at /dev/shm, or in it, is the container’s', async () => {
      await kubelet().withPod({}, async (pod) => {
        const hostPath = mkdtempSync(join(kubelet().containerd.directory, 'shm-'));
        writeFileSync(join(hostPath, 'mine'), 'volume\n');
        const at = (containerPath: string): object => ({ mounts: [{ containerPath, hostPath }] });
        const plain = await pod.run();
        const volume = await pod.run(['sleep', '1000'], at('/dev/shm'));
        const below = await pod.run(['sleep', '1000'], at('/dev/shm/below'));
        expect(await pod.sh(volume, 'cat /dev/shm/mine')).toBe('volume');
        expect(await pod.sh(below, 'cat /dev/shm/below/mine; echo x > /dev/shm/file')).toBe('volume');
        expect(await pod.sh(plain, 'cat /dev/shm/file')).toBe('x');
      });
    });

    test('the host’s is what a pod with the host’s ipc namespace has', async () => {
      await kubelet().withPod({ ipc: 'NODE' }, async (pod) => {
        const id = await pod.run();
        expect(await pod.sh(id, 'stat -c %d /dev/shm')).toBe(`${statSync('/dev/shm').dev}`);
        expect(await pod.sh(id, 'cat /proc/sys/kernel/shmmni')).toBe(
          readFileSync('/proc/sys/kernel/shmmni', 'latin1').trim(),
        );
      });
    });

    test('host name and sysctls are the pod’s, in every container and in later ones', async () => {
      const sysctls = { 'kernel.shm_rmid_forced': '1', 'net.ipv4.ip_local_port_range': '2000 61000' };
      const look = 'hostname; cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range';
      await kubelet().withPod({ name: 'named', linux: { sysctls } }, async (pod) => {
        for (let i = 0; i < 2; i++) expect(await pod.sh(await pod.run(), look)).toBe('named\n1\n2000\t61000');
        await kubelet().withPod({ name: 'unnamed' }, async (other) => {
          expect(await other.sh(await other.run(), look)).not.toContain('2000\t61000');
        });
      });
    });

    test('the end of a container for its memory, by a signal and by itself is told by reason and exit code', async () => {
      await kubelet().withPod({}, async (pod) => {
        const sibling = await pod.run();
        const hungry = await pod.run(['sh', '-c', 'head -c 200000000 /dev/zero | tail -n 1'], {
          resources: { memoryLimitInBytes: 16 << 20, memorySwapLimitInBytes: 16 << 20 },
        });
        expect(await pod.exited(hungry)).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
        const signalled = await pod.run(['sh', '-c', 'kill -TERM $$; sleep 1000']);
        // A first process has no default action for a signal from its own namespace (pid_namespaces(7)).
        process.kill(await pod.pid(signalled), 'SIGTERM');
        await pod.stopContainer(signalled);
        expect(await pod.exited(signalled)).toMatchObject({ exitCode: 137, reason: 'Error' });
        const good = await pod.runToEnd(['true']);
        expect(good).toMatchObject({ exitCode: 0, reason: 'Completed' });
        expect(await pod.runToEnd(['sh', '-c', 'exit 41'])).toMatchObject({ exitCode: 41, reason: 'Error' });
        expect(await pod.status(sibling)).toMatchObject({ state: 'CONTAINER_RUNNING' });
      });
    });
  });
}
