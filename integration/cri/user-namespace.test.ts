import { criSuite } from '../harness/cri/suite';
criSuite('pods with user namespaces of silt’s choosing', { userns: 'auto', onlyPeer: 'system' }, (kubelet) => {
  test('two containers of a pod share it', async () => {
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
});
