/** A restore through containerd, whose shim is there already or not, beside runc's shim. */
import { findPeer } from '../harness/peers';
import { startContainerd } from '../harness/containerd';
import { type Contestant, measure, report } from './measure';

const RUNTIMES = { silt: 'io.containerd.silt.v1', runc: 'io.containerd.runc.v2' } as const;

/** `ctr containers restore --live` of a sleeping process: containerd's reading of the image is part of both. */
export async function benchShimRestore(settings: {
  readonly criu: string;
  readonly rounds: number;
  readonly print: (text: string) => void;
}): Promise<void> {
  const { criu, rounds, print } = settings;
  const peer = await findPeer('system');
  if (!('version' in peer)) throw new Error(peer.reason);
  const host = await startContainerd({ peer, silt: { criu }, runtime: RUNTIMES.silt });
  try {
    const contestants: Contestant[] = [];
    for (const [name, runtime] of Object.entries(RUNTIMES)) {
      const id = await host.startContainer(['sleep', '100000'], { runtime });
      const image = `silt.bench/${name}:1`;
      const saved = await host.ctr(['containers', 'checkpoint', '--image', '--task', id, image]);
      await host.remove(id);
      if (saved.code !== 0) {
        if (name === 'silt') throw new Error(saved.stderr);
        print(`restore through containerd, ${name}: skipped, its checkpoint fails here: ${saved.stderr.trim()}\n`);
        continue;
      }
      let restored: string | undefined;
      const prepare = async (): Promise<void> => {
        if (restored !== undefined) await host.remove(restored);
        restored = undefined;
      };
      const run = async (): Promise<void> => {
        restored = host.newId('r');
        await host.mustCtr(['containers', 'restore', '--live', restored, image]);
      };
      contestants.push({ name, prepare, run });
    }
    if (contestants.length > 0) print(report('ctr containers restore --live', await measure(contestants, rounds)));
  } finally {
    await host.destroy();
  }
}
