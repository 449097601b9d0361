/** What a plugin of containerd's Node Resource Interface changes about a container takes effect in it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../harness';
import { criSuite } from '../harness/cri/suite';
import { NriPlugin } from '../harness/cri/nri-plugin';

const number = (value: number): object => ({ value });

criSuite('adjustments by NRI', { needs: 2, cri: { nri: true } }, (kubelet) => {
  let plugin: NriPlugin | undefined;
  /** A directory with another filesystem in it. */
  const tree = (): string => join(kubelet().containerd.directory, 'tree');

  beforeAll(async () => {
    const { containerd } = kubelet();
    const file = join(containerd.directory, 'from-plugin');
    writeFileSync(file, 'the plugin’s\n');
    mkdirSync(join(tree(), 'inner'), { recursive: true });
    await mustRun(['mount', '-t', 'tmpfs', 'inner', join(tree(), 'inner')]);
    const adjustment = {
      annotations: { 'dev.gvisor.tar.rootfs.upper': join(containerd.seeds, 'missing.tar') },
      env: [{ key: 'ADJUSTED', value: 'yes' }],
      mounts: [
        { destination: '/from-plugin', type: 'bind', source: file, options: ['bind', 'ro'] },
        { destination: '/tree-ro', type: 'bind', source: tree(), options: ['rbind', 'ro'] },
        { destination: '/tree-rro', type: 'bind', source: tree(), options: ['rbind', 'rro'] },
      ],
      linux: {
        devices: [{ path: '/dev/mine', type: 'c', major: 1, minor: 5, fileMode: number(0o666) }],
        resources: { memory: { limit: number(64 << 20) }, cpu: { quota: number(50_000), period: number(100_000) } },
      },
    };
    const { annotations, ...others } = adjustment;
    plugin = await NriPlugin.start(containerd.nriSocket, (name) =>
      name === 'adjusted' ? others : name === 'annotated' ? { annotations } : undefined,
    );
  });
  afterAll(async () => {
    plugin?.close();
    await mustRun(['umount', join(tree(), 'inner')]);
  });

  const limits = `
    if [ -e /sys/fs/cgroup/memory.max ]; then cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max;
    else cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes; echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us); fi`;

  test('environment, mounts, devices and limits; a sibling is left alone', async () => {
    await kubelet().withPod({}, async (pod) => {
      const adjusted = await pod.run(['sleep', '1000'], { name: 'adjusted' });
      expect(await pod.sh(adjusted, 'echo $ADJUSTED; cat /from-plugin')).toBe('yes\nthe plugin’s');
      // 1:5 is /dev/zero: that it can be read shows that the device's cgroup lets it, too.
      expect(await pod.sh(adjusted, 'head -c 4 /dev/mine | od -An -tx1')).toBe('00 00 00 00');
      expect(await pod.sh(adjusted, limits)).toBe(`${64 << 20}\n50000 100000`);
      const sibling = await pod.run(['sleep', '1000'], { name: 'sibling' });
      expect(await pod.sh(sibling, 'echo "[$ADJUSTED]"; ls /dev/mine /from-plugin 2>/dev/null | wc -l')).toBe('[]\n0');
    });
  });

  test('a mount is read-only down to what is mounted in it when the plugin says so', async () => {
    await kubelet().withPod({}, async (pod) => {
      const adjusted = await pod.run(['sleep', '1000'], { name: 'adjusted' });
      const write = (path: string): string => `(touch ${path}) 2>&1 | grep -o Read-only || echo written`;
      expect(await pod.sh(adjusted, `${write('/tree-ro/f')}; ${write('/tree-ro/inner/f')}`)).toBe('Read-only\nwritten');
      expect(await pod.sh(adjusted, `${write('/tree-rro/f')}; ${write('/tree-rro/inner/f')}`)).toBe(
        'Read-only\nRead-only',
      );
    });
  });

  test('an annotation is what silt goes by', async () => {
    await kubelet().withPod({}, async (pod) => {
      const annotated = await pod.create(['sleep', '1000'], { name: 'annotated' });
      await expect(pod.start(annotated)).rejects.toThrow('missing.tar');
    });
  });

  test('limits of a running container, by the plugin and by the kubelet', async () => {
    await kubelet().withPod({}, async (pod) => {
      const container = await pod.run(['sleep', '1000'], { name: 'adjusted' });
      expect(await plugin!.update(container, { memory: { limit: number(48 << 20) } })).toEqual([]);
      expect(await pod.sh(container, limits)).toMatch(new RegExp(`^${48 << 20}\n`));
      await pod.client.call('UpdateContainerResources', {
        id: container,
        linux: { cpuQuota: 25_000, cpuPeriod: 100_000 },
      });
      expect(await pod.sh(container, limits)).toBe(`${48 << 20}\n25000 100000`);
    });
  });
});
