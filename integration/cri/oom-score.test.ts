/** A pod wants an oom_score_adj of -998, which a host without CAP_SYS_RESOURCE does not permit: its pods run all the same. */
import { readFileSync } from 'node:fs';
import { isSilt, siltTest, testIf, waitFor } from '../harness';
import { criSuite } from '../harness/cri/suite';

/** Permitted capabilities of this process, which are those of silt here. */
const permitted = BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]!}`);
const bound = ((permitted >> 24n) & 1n) === 0n;

criSuite(
  'oom_score_adj',
  { cri: { anyOomScoreAdj: true }, onlyPeer: 'system', runcLeaves: 'nothing to check: it cannot start such a pod' },
  (kubelet) => {
    siltTest('a pod runs with what the host permits, and each container with what it asks for', async () => {
      await kubelet().withPod({}, async (pod) => {
        const id = await pod.run(['sleep', '1000'], { resources: { oomScoreAdj: 700 } });
        expect(await pod.sh(id, 'cat /proc/1/oom_score_adj')).toBe('700');
        const { info } = await pod.podStatus();
        const score = Number(readFileSync(`/proc/${info['pid'] as number}/oom_score_adj`, 'latin1'));
        expect(score).toBe(bound ? Number(readFileSync('/proc/self/oom_score_adj', 'latin1')) : -998);
      });
    });

    testIf(bound, 'this host permits every oom_score_adj')(
      'the log tells what was asked for and what it became',
      async () => {
        await kubelet().withPod({}, async () => {
          await waitFor('a line in the log', () =>
            kubelet().containerd.log().includes('$.process.oomScoreAdj: -998 is lower than silt'),
          );
        });
      },
    );

    testIf(bound && isSilt, 'this host permits every oom_score_adj, or another runtime is under test')(
      'under the strict setting the pod fails with what to do, and the next one runs',
      async () => {
        const { containerd } = kubelet();
        containerd.configureSilt({ more: 'oom-score-adj = "strict"' });
        try {
          await expect(kubelet().runPod()).rejects.toThrow(
            /oomScoreAdj: -998 is lower than .* set restrict_oom_score_adj = true .* or oom-score-adj = "clamp"/,
          );
        } finally {
          containerd.configureSilt({});
        }
        await kubelet().withPod({}, async (pod) => {
          expect(await pod.runToEnd(['true'])).toMatchObject({ exitCode: 0 });
        });
      },
    );
  },
);
