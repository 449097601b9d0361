/** What `silt list` and `silt ps` show of pods, beside what CRI answers to crictl. */
import { join } from 'node:path';
import { runCommand, siltProgram, siltTest, waitFor } from '../harness';
import type { Kubelet, TestPod } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

async function silt(kubelet: Kubelet, ...args: string[]): Promise<string> {
  const { containerd } = kubelet;
  const root = join(containerd.siltRoot, containerd.namespace);
  const { stdout, stderr, code } = await runCommand([siltProgram, '--root', root, ...args], {
    env: containerd.environment,
  });
  expect([code, stderr]).toEqual([0, '']);
  return stdout.toString();
}

/** The cells of a table's lines, without its header; cells of these names may be empty otherwise. */
const rowsOf = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split(/ {2,}/));

interface Pod {
  readonly id: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
}
interface Listed {
  readonly id: string;
  readonly podSandboxId: string;
  readonly metadata: { readonly name: string };
  readonly state: string;
}

criSuite('what silt lists of pods', {}, (kubelet) => {
  siltTest('are the containers, states, names, pods and namespaces that crictl shows', async () => {
    await kubelet().withPod({ name: 'shop' }, (one) =>
      kubelet().withPod({ name: 'depot' }, (other) => compare(one, other)),
    );
  });

  const compare = async (one: TestPod, other: TestPod): Promise<void> => {
    const web = await one.run(['sleep', '1000'], { name: 'web' });
    const init = await one.run(['true'], { name: 'init' });
    await one.exited(init);
    await other.run(['sleep', '1000'], { name: 'web' });
    const { items: pods } = await one.client.call<{ items: Pod[] }>('ListPodSandbox');
    const { containers } = await one.client.call<{ containers: Listed[] }>('ListContainers');
    const podOf = (id: string): Pod => pods.find((pod) => pod.id === id)!;
    // As `crictl ps` has them. Of one that has ended containerd deletes the task at once: only containerd knows of it then.
    const running = containers.filter(({ state }) => state === 'CONTAINER_RUNNING');
    const crictl = running.map(({ id, podSandboxId, metadata }) => {
      const { name, namespace } = podOf(podSandboxId).metadata;
      return [id.slice(0, 13), 'Running', metadata.name, podSandboxId.slice(0, 13), name, namespace];
    });
    expect([containers.length, crictl.length]).toEqual([3, 2]);
    await waitFor('the end of init to be known', async () => !(await silt(kubelet(), 'ps')).includes('init'));
    const shown = rowsOf(await silt(kubelet(), 'ps'));
    const [lines, ofPods] = [shown.filter((row) => row[2] !== '(pod)'), shown.filter((row) => row[2] === '(pod)')];
    expect(lines.sort()).toEqual(crictl.sort());
    expect(ofPods.map((row) => row.slice(3)).sort()).toEqual(
      pods.map(({ id, metadata }) => [id.slice(0, 13), metadata.name, metadata.namespace]).sort(),
    );
    const listed = rowsOf(await silt(kubelet(), 'list'));
    expect(listed.find(([id]) => id === web)?.slice(-3)).toEqual(['web', 'shop', 'tests']);
    expect(await silt(kubelet(), 'ps', web.slice(0, 13))).toContain('sleep 1000');
  };
});
