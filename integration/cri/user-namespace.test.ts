/** The user namespace that silt chooses for pods which say nothing of one, and containers that stay out of it. */
import { siltTest } from '../harness';
import { criSuite } from '../harness/cri/suite';

criSuite('pods with user namespaces of silt’s choosing', { userns: 'auto' }, (kubelet) => {
  siltTest('two containers of a pod share it', async () => {
    await kubelet().withPod({}, async (pod) => {
      const one = await pod.run();
      const other = await pod.run();
      expect(await pod.sh(one, 'cat /proc/self/uid_map')).toMatch(/^0 +[1-9]\d+ +65536$/);
      expect(await pod.sh(other, 'readlink /proc/self/ns/user')).toBe(await pod.sh(one, 'readlink /proc/self/ns/user'));
      expect(await pod.sh(one, 'cat /etc/hostname; stat -c %u /etc/hostname')).toBe(`${pod.config.metadata.name}\n0`);
      const { ip } = await pod.podStatus();
      expect(await pod.sh(one, 'ip -4 addr show eth0')).toContain(`inet ${ip}/24`);
    });
  });

  test('a container that adds a capability has its power, over the pod’s network too', async () => {
    await kubelet().withPod({}, async (pod) => {
      const adding = (...addCapabilities: string[]): object => ({ security: { capabilities: { addCapabilities } } });
      const network = await pod.run(['sleep', '1000'], adding('NET_ADMIN'));
      expect(await pod.sh(network, 'brctl addbr mine && ip link set mine up && ip link show mine')).toContain('UP');
      const nice = await pod.run(['sleep', '1000'], adding('SYS_NICE'));
      expect(await pod.sh(nice, 'renice -n -5 -p $$ && cut -d" " -f19 /proc/$$/stat')).toBe('-5');
      const usual = await pod.run();
      expect((await pod.exec(usual, ['brctl', 'addbr', 'other'])).code).not.toBe(0);
      // It is the same network for all of them.
      expect(await pod.sh(usual, 'ip link show mine')).toContain('UP');
    });
  });

  siltTest('such a container has the host’s ids, its siblings do not, and the log says why', async () => {
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run(['sleep', '1000'], { security: { capabilities: { addCapabilities: ['NET_ADMIN'] } } });
      const usual = await pod.run();
      expect(await pod.sh(id, 'cat /proc/self/uid_map')).toMatch(/^0 +0 +4294967295$/);
      expect(await pod.sh(usual, 'cat /proc/self/uid_map')).toMatch(/^0 +[1-9]\d+ +65536$/);
      expect(kubelet().containerd.log()).toMatch(
        new RegExp(
          `container ${id}: it is not in the pod's user namespace, in which CAP_NET_ADMIN would have no power`,
        ),
      );
    });
  });
});

/** What a pod's client that is no kubelet says: nothing, or the host's user namespace by name. */
const noKubelets = { more: { labels: { app: 'critest' } } };
const hostUsers = { security: { namespaceOptions: { usernsOptions: { mode: 'NODE' } } } };
const look = 'cut -c1-21 /proc/self/uid_map; grep Seccomp: /proc/self/status';
const ofSilts = /^ *0 +[1-9]\d+\nSeccomp:\t2$/;

for (const sandboxer of ['podsandbox', 'shim'] as const) {
  const settings = {
    cri: { sandboxer },
    needs: sandboxer === 'shim' ? 2 : 1,
    userns: 'auto',
    baseline: 'docker',
  } as const;
  criSuite(`what CRI’s client asks for and no spec says, sandboxer ${sandboxer}`, settings, (kubelet) => {
    siltTest('no profile is no filter, and the host’s users are the host’s, from who can say otherwise', async () => {
      await kubelet().withPod(noKubelets, async (pod) => {
        expect(await pod.sh(await pod.run(), look)).toMatch(/^ *0 +[1-9]\d+\nSeccomp:\t0$/);
        const security = { seccomp: { profileType: 'RuntimeDefault' } };
        expect(await pod.sh(await pod.run(['sleep', '1000'], { security }), look)).toMatch(ofSilts);
      });
      await kubelet().withPod({ ...noKubelets, ...hostUsers }, async (pod) => {
        expect(await pod.sh(await pod.run(), look)).toMatch(/^ *0 +0\nSeccomp:\t0$/);
      });
    });

    siltTest('a kubelet says both for every pod, and its pods have what silt gives', async () => {
      const unconfined = { security: { seccomp: { profileType: 'Unconfined' } } };
      await kubelet().withPod(hostUsers, async (pod) => {
        expect(await pod.sh(await pod.run(['sleep', '1000'], unconfined), look)).toMatch(ofSilts);
      });
    });
  });
}

const ids = [{ hostId: 300_000, containerId: 0, length: 65536 }];
const hostUsersFalse = { security: { namespaceOptions: { usernsOptions: { mode: 'POD', uids: ids, gids: ids } } } };

// What critest wants; docs/kubernetes.md says how one RuntimeClass has it.
criSuite(
  'pods that are as the kubelet says and no more',
  { userns: 'none', baseline: 'none', needs: 1.7 },
  (kubelet) => {
    test('a user namespace where hostUsers is false, and a filter where there is a profile', async () => {
      await kubelet().withPod({}, async (pod) => {
        expect(await pod.sh(await pod.run(), look)).toMatch(/^ *0 +0\nSeccomp:\t0$/);
        const security = { seccomp: { profileType: 'RuntimeDefault' } };
        expect(await pod.sh(await pod.run(['sleep', '1000'], { security }), look)).toMatch(/^ *0 +0\nSeccomp:\t2$/);
      });
      await kubelet().withPod(hostUsersFalse, async (pod) => {
        expect(await pod.sh(await pod.run(), look)).toMatch(/^ *0 +300000\nSeccomp:\t0$/);
      });
    });
  },
);
