/** What a kubelet counts as a container's ephemeral storage: the writable layer, which containerd tells it the size of. */
import { siltTest, waitFor } from '../harness';
import type { TestPod } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

const MIB = 1 << 20;

/** As the kubelet asks (ListContainerStats), in bytes; undefined until containerd has looked. */
async function writableLayer(pod: TestPod, id: string): Promise<number | undefined> {
  interface Stats {
    readonly attributes: { readonly id: string };
    readonly writableLayer: { readonly usedBytes: { readonly value: number } | null } | null;
  }
  const { stats } = await pod.client.call<{ stats: Stats[] }>('ListContainerStats', {
    filter: { podSandboxId: pod.id },
  });
  return stats.find(({ attributes }) => attributes.id === id)?.writableLayer?.usedBytes?.value;
}

criSuite('ephemeral storage of a container', { cri: { statsSeconds: 1 }, onlyPeer: 'system' }, (kubelet) => {
  for (const [mode, counted] of [
    ['root:self', true],
    ['none', true],
    ['root:memory', false],
  ] as const)
    siltTest(`with overlay2=${mode} what it writes is ${counted ? '' : 'not '}counted`, async () => {
      await kubelet().withPod({ annotations: { 'dev.gvisor.flag.overlay2': mode } }, async (pod) => {
        const id = await pod.run(['sleep', '1000']);
        const counts = async (what: string, bytes: (used: number) => boolean): Promise<number> => {
          let used: number | undefined;
          const isSo = async (): Promise<boolean> => (used = await writableLayer(pod, id)) !== undefined && bytes(used);
          await waitFor(`${what} to be counted`, isSo, { timeoutMs: 60_000, detail: () => `${used}` });
          return used!;
        };
        const before = await counts('an empty layer', () => true);
        expect(before).toBeLessThan(5 * MIB);
        await pod.sh(id, 'head -c 30000000 /dev/zero | tr "\\0" x > /big; sync');
        if (counted) {
          expect(await counts('what was written', (used) => used >= before + 30_000_000)).toBeLessThan(
            before + 40 * MIB,
          );
          return;
        }
        // It is in memory; what is on the disk stays as little, however often containerd looks.
        const other = await pod.run(['sleep', '1000']);
        const looked = async (): Promise<boolean> => (await writableLayer(pod, other)) !== undefined;
        await waitFor('containerd to have looked again', looked, { timeoutMs: 60_000 });
        expect(await writableLayer(pod, id)).toBeLessThan(5 * MIB);
      });
    });
});
