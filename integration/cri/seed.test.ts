/** Every container of a pod with a seed of its own, and a snapshot of its own, while the others run on. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { plainNames, readTar, runCommand, siltProgram, siltTest, waitFor, writeNamedSeed } from '../harness';
import { criSuite } from '../harness/cri/suite';
import type { Kubelet } from '../harness/cri/kubelet';

const annotation = 'dev.gvisor.tar.rootfs.upper';

const seed = (kubelet: Kubelet, name: string): string => writeNamedSeed(kubelet.containerd.seeds, name);

const read = 'cat /seeded 2>/dev/null || echo nothing';

criSuite('seeds and snapshots in a pod', {}, seedsInPods);
criSuite('seeds in a pod without a pause container', { cri: { sandboxer: 'shim' }, needs: 2 }, seedsInPods);

function seedsInPods(kubelet: () => Kubelet): void {
  siltTest('each container starts from the archive that the pod or its own spec names for it', async () => {
    const annotations = {
      [annotation]: seed(kubelet(), 'all'),
      [`${annotation}.web`]: seed(kubelet(), 'web'),
      [`${annotation}.wbe`]: seed(kubelet(), 'misspelt'),
    };
    const own = { [annotation]: seed(kubelet(), 'own') };
    await kubelet().withPod({ annotations }, async (pod) => {
      const web = await pod.run(['sleep', '1000'], { name: 'web' });
      const other = await pod.run(['sleep', '1000'], { name: 'other' });
      const described = await pod.run(['sleep', '1000'], { name: 'described', annotations: own });
      expect(await pod.sh(web, read)).toBe('web');
      expect(await pod.sh(other, read)).toBe('all');
      expect(await pod.sh(described, read)).toBe('own');
    });
    const told = (): number => kubelet().containerd.log().split(`${annotation}.wbe gives the seed`).length - 1;
    await waitFor('the misspelt name to be told', () => told() > 0);
    expect(told()).toBe(1);
  });

  siltTest('a container whose archive is missing fails with the reason, its sibling runs on', async () => {
    const missing = join(kubelet().containerd.seeds, 'missing.tar');
    await kubelet().withPod({ annotations: { [`${annotation}.broken`]: missing } }, async (pod) => {
      const fine = await pod.run(['sleep', '1000'], { name: 'fine' });
      const broken = await pod.create(['sleep', '1000'], { name: 'broken' });
      await expect(pod.start(broken)).rejects.toThrow(missing);
      expect(await pod.status(broken)).toMatchObject({
        state: 'CONTAINER_EXITED',
        reason: 'StartError',
        message: expect.stringContaining(missing) as string,
      });
      expect(await pod.status(fine)).toMatchObject({ state: 'CONTAINER_RUNNING' });
    });
  });

  siltTest('a snapshot is taken of one container while another writes, and seeds the next pod', async () => {
    const { containerd } = kubelet();
    const root = join(containerd.siltRoot, containerd.namespace);
    const file = join(containerd.seeds, 'snapshot.tar');
    const take = (id: string): Promise<{ code: number; stderr: string }> =>
      runCommand([siltProgram, '--root', root, 'tar', 'rootfs-upper', '--file', file, id], {
        env: containerd.environment,
      });
    await kubelet().withPod({}, async (pod) => {
      const first = await pod.run(['sh', '-c', 'while :; do echo x >> /grows; done']);
      const later = await pod.run(['sh', '-c', 'echo state > /kept; exec sleep 1000']);
      await pod.sh(later, 'until [ -e /kept ]; do sleep 0.1; done');
      // The first twelve characters, as crictl shows ids.
      expect(await take(later.slice(0, 12))).toMatchObject({ code: 0, stderr: '' });
      expect(plainNames(readTar(readFileSync(file)))).toContain('kept');
      expect(plainNames(readTar(readFileSync(file)))).not.toContain('grows');
      const before = Number(await pod.sh(first, 'wc -c < /grows'));
      expect(await take(first)).toMatchObject({ code: 0 });
      expect(plainNames(readTar(readFileSync(file)))).toContain('grows');
      await pod.sh(first, `until [ $(wc -c < /grows) -gt ${before} ]; do sleep 0.1; done`);
      await take(later);
    });
    await kubelet().withPod({ annotations: { [`${annotation}.app`]: file } }, async (pod) => {
      const app = await pod.run(['sleep', '1000'], { name: 'app' });
      expect(await pod.sh(app, 'cat /kept')).toBe('state');
    });
  });
}
