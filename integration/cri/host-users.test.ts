/**
 * Pods that Kubernetes gives ids of their own (`hostUsers: false`): the ids are the kubelet's. containerd 1.7 leaves making the user
 * namespace and the network in it to the runtime, 2.x makes both itself and has the pod join them by path.
 */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageName, peerRelease, testIf } from '../harness';
import { criSuite } from '../harness/cri/suite';
import type { PodOptions } from '../harness/cri/kubelet';

const ids = [{ hostId: 300_000, containerId: 0, length: 65536 }];
const usernsOptions = { mode: 'POD', uids: ids, gids: ids };
const hostUsersFalse: PodOptions = { security: { namespaceOptions: { usernsOptions } } };

const sandboxers = [
  ['with a pause container', { needs: 1.7 }],
  ['without one', { needs: 2, cri: { sandboxer: 'shim' } }],
] as const;
for (const [how, settings] of sandboxers) {
  const leaves = { containerdLeaves: /\/image-volumes$/ };
  criSuite(`pods with ids that the kubelet has chosen, ${how}`, { ...settings, ...leaves }, (kubelet) => {
    test('containers, one after the other, have these ids, and the image’s files are theirs', async () => {
      await kubelet().withPod(hostUsersFalse, async (pod) => {
        const one = await pod.run();
        const other = await pod.run();
        for (const container of [one, other]) {
          expect(await pod.sh(container, 'cat /proc/self/uid_map /proc/self/gid_map')).toMatch(
            /^0 +300000 +65536\n +0 +300000 +65536$/,
          );
          expect(await pod.sh(container, 'stat -c %u:%g / /bin/busybox /etc/motd /home/guest/notes')).toBe(
            '0:0\n0:0\n0:0\n1000:1000',
          );
          expect(await pod.sh(container, 'cat /etc/motd; echo mine > /etc/motd; cat /etc/motd')).toBe(
            'second layer\nmine',
          );
        }
        expect(await pod.sh(one, 'readlink /proc/self/ns/user')).toBe(
          await pod.sh(other, 'readlink /proc/self/ns/user'),
        );
      });
    });

    test('the user namespace of another container is none that a pod can have', async () => {
      for (const mode of ['CONTAINER', 'TARGET']) {
        const asked = kubelet().runPod({
          security: { namespaceOptions: { usernsOptions: { ...usernsOptions, mode } } },
        });
        await expect(asked).rejects.toThrow(/user namespace/);
      }
    });

    test('the pod’s network is one over which its root has power, and has the pod’s address', async () => {
      await kubelet().withPod(hostUsersFalse, async (pod) => {
        const security = { capabilities: { addCapabilities: ['NET_ADMIN'] } };
        const container = await pod.run(['sleep', '1000'], { security });
        const { ip, info } = await pod.podStatus();
        expect(await pod.sh(container, 'ip -4 addr show eth0')).toContain(`inet ${ip}/24`);
        expect(await pod.sh(container, 'brctl addbr mine && echo made')).toBe('made');
        expect(await pod.sh(container, 'cat /etc/hostname; stat -c %u /etc/hostname /etc/hosts /dev/shm')).toBe(
          `${pod.config.metadata.name}\n0\n0\n0`,
        );
        expect(info['pid']).toBeGreaterThan(0);
      });
    });

    testIf(peerRelease() >= 2, 'containerd takes idmapped mounts from a kubelet from 2.0 on')(
      'volumes show the pod’s owners, and what it writes is its root’s by number',
      async () => {
        const directory = join(kubelet().containerd.directory, 'volume');
        mkdirSync(directory);
        writeFileSync(join(directory, 'given'), 'by the host\n');
        const mapped = { containerPath: '/mapped', hostPath: directory, uidMappings: ids, gidMappings: ids };
        await kubelet().withPod(hostUsersFalse, async (pod) => {
          const container = await pod.run(['sleep', '1000'], { mounts: [mapped] });
          expect(await pod.sh(container, 'stat -c %u:%g /mapped/given; echo x > /mapped/written')).toBe('0:0');
          expect(statSync(join(directory, 'written'))).toMatchObject({ uid: 0, gid: 0 });
        });
      },
    );

    // The latest releases mount it with the pod's owners, those before leave the mappings to the runtime.
    testIf(peerRelease() >= 2.1, 'containerd has no image volumes before 2.1')(
      'an image that is a volume has the pod’s owners, for each container of the pod',
      async () => {
        const image = { image: { image: imageName }, readonly: true, uidMappings: ids, gidMappings: ids };
        const mounts = [{ ...image, containerPath: '/image' }];
        await kubelet().withPod(hostUsersFalse, async (pod) => {
          for (const container of [await pod.run(undefined, { mounts }), await pod.run(undefined, { mounts })]) {
            expect(await pod.sh(container, 'cat /image/etc/motd; stat -c %u:%g /image/bin /image/home/guest')).toBe(
              'second layer\n0:0\n1000:1000',
            );
          }
        });
      },
    );
  });
}
