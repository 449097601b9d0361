/** Many of Kubernetes' pods at once, by CRI's calls, beside runc: how long they take to come and go, and their memory. */
import { startContainerd, type Containerd } from '../harness/containerd';
import { Kubelet, type TestPod } from '../harness/cri/kubelet';
import { findPeer } from '../harness/peers';
import { quantile, report } from './measure';
import { mib, processesOf, sharesOf } from './memory';

const COUNTS = [1, 10, 50];
/** A round is many pods; more of them are of no use. */
const MOST_ROUNDS = 3;
const HANDLERS = ['silt', 'runc'] as const;

/** What is measured of one runtime in one round: milliseconds until all pods run and until all are gone, bytes in between. */
interface Figures {
  readonly started: number;
  readonly removed: number;
  readonly memory: number;
}

/** Each pod is a pause container and one that sleeps, on a bridge of CNI's. */
export async function benchPods(rounds: number, print: (text: string) => void): Promise<void> {
  const peer = await findPeer('system');
  if (!('version' in peer)) throw new Error(peer.reason);
  const host = await startContainerd({ peer, silt: {}, runtime: 'io.containerd.silt.v1', cri: {} });
  const kubelet = new Kubelet(host, 'silt');
  try {
    await kubelet.ready();
    for (const handler of HANDLERS) await once(host, kubelet, handler, 1);
    const memory = new Map<string, number[]>(HANDLERS.map((handler) => [handler, []]));
    for (const count of COUNTS) {
      const found = new Map<string, Figures[]>(HANDLERS.map((handler) => [handler, []]));
      for (let round = 0; round < Math.min(rounds, MOST_ROUNDS); round++) {
        for (const handler of HANDLERS) found.get(handler)!.push(await once(host, kubelet, handler, count));
      }
      const results = (key: 'started' | 'removed') =>
        HANDLERS.map((name) => ({ name, times: found.get(name)!.map((figures) => figures[key]) }));
      print(report(`${count} pods at once, until all run`, results('started')));
      print(report(`${count} pods at once, until all are removed`, results('removed')));
      for (const name of HANDLERS) memory.get(name)!.push(quantile(found.get(name)!.map((one) => one.memory), 0.5)); // prettier-ignore
    }
    print(`memory of pods with pause and one sleeping process, MiB in all: ${COUNTS.join(', ')} pods\n`);
    for (const [name, taken] of memory) {
      const each = (taken.at(-1)! - taken.at(-2)!) / (COUNTS.at(-1)! - COUNTS.at(-2)!);
      print(`  ${name.padEnd(14)} ${taken.map((bytes) => mib(bytes).padStart(8)).join('')}   each further pod ${mib(each)}\n`); // prettier-ignore
    }
  } finally {
    kubelet.close();
    await host.destroy();
  }
}

async function once(host: Containerd, kubelet: Kubelet, handler: string, count: number): Promise<Figures> {
  const start = performance.now();
  const pods = await Promise.all(Array.from({ length: count }, () => startPod(kubelet, handler)));
  const running = performance.now();
  const memory = sharesOf(processesOf(host, handler));
  const measured = performance.now();
  await Promise.all(pods.map((pod) => pod.remove()));
  return { started: running - start, removed: performance.now() - measured, memory };
}

async function startPod(kubelet: Kubelet, handler: string): Promise<TestPod> {
  const pod = await kubelet.runPod({ handler });
  await pod.run(['sleep', '100000']);
  return pod;
}
