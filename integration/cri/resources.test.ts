/** Limits of pods and containers as a kubelet lays them out, changed while they run, and the figures that it reads. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onMachinesContainerd, peerRelease, testIf } from '../harness';
import type { TestPod } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

const v2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
const memoryFile = v2 ? 'memory.max' : 'memory.limit_in_bytes';

/** Where the memory cgroup with this path is. */
const memoryCgroup = (path: string): string => join('/sys/fs/cgroup', v2 ? '' : 'memory', path);
const read = (path: string): string => readFileSync(path, 'latin1').trim();
const limitOf = (pod: TestPod, id: string): string =>
  read(join(memoryCgroup(pod.config.linux.cgroupParent), id, memoryFile));

interface Stats {
  readonly attributes: { readonly id: string };
  readonly cpu: { readonly usageCoreNanoSeconds: { readonly value: number } };
  readonly memory: {
    readonly usageBytes: { readonly value: number };
    readonly workingSetBytes: { readonly value: number };
  };
}

criSuite('resources of a pod', {}, (kubelet) => {
  test('containers are in cgroups of their own below the pod’s, with their limits, which can be changed', async () => {
    await kubelet().withPod({}, async (pod) => {
      const limited = await pod.run(['sleep', '1000'], {
        resources: { memoryLimitInBytes: 64 << 20, cpuQuota: 20_000, cpuPeriod: 100_000, cpuShares: 512 },
      });
      const free = await pod.run();
      expect(limitOf(pod, limited)).toBe(`${64 << 20}`);
      expect(limitOf(pod, free)).not.toBe(`${64 << 20}`);
      await pod.client.call('UpdateContainerResources', {
        id: limited,
        linux: { memoryLimitInBytes: 96 << 20, cpuQuota: 30_000, cpuPeriod: 100_000, cpuShares: 256 },
      });
      expect(limitOf(pod, limited)).toBe(`${96 << 20}`);
      // The container sees its own cgroup.
      const seen = v2 ? '/sys/fs/cgroup/memory.max' : '/sys/fs/cgroup/memory/memory.limit_in_bytes';
      expect(await pod.sh(limited, `cat ${seen}`)).toBe(`${96 << 20}`);
      const quota = v2 ? '/sys/fs/cgroup/cpu.max' : '/sys/fs/cgroup/cpu/cpu.cfs_quota_us';
      expect(await pod.sh(limited, `cat ${quota}`)).toMatch(/^30000/);
    });
  });

  test('a limit that the kubelet has set on the pod holds for its containers together', async () => {
    const name = 'limited-pod';
    const parent = memoryCgroup(`/${kubelet().containerd.mark}/${name}`);
    mkdirSync(parent);
    writeFileSync(join(parent, memoryFile), `${32 << 20}`);
    await kubelet().withPod({ name }, async (pod) => {
      expect(read(join(parent, memoryFile))).toBe(`${32 << 20}`);
      const hungry = await pod.run(['sh', '-c', 'head -c 200000000 /dev/zero | tail -n 1']);
      expect(await pod.exited(hungry)).toMatchObject({ exitCode: 137 });
    });
  });

  test('stats of containers and of the pod grow with what they use', async () => {
    await kubelet().withPod({}, async (pod) => {
      const busy = await pod.run(['sh', '-c', 'head -c 20000000 /dev/zero > /dev/shm/held; while :; do :; done']);
      const idle = await pod.run();
      await pod.sh(busy, 'until [ $(wc -c < /dev/shm/held) = 20000000 ]; do sleep 0.1; done');
      const { stats } = await pod.client.call<{ stats: Stats[] }>('ListContainerStats', {
        filter: { podSandboxId: pod.id },
      });
      const of = (id: string): Stats => stats.find(({ attributes }) => attributes.id === id)!;
      expect(stats.map(({ attributes }) => attributes.id).sort()).toEqual([busy, idle].sort());
      expect(of(busy).cpu.usageCoreNanoSeconds.value).toBeGreaterThan(of(idle).cpu.usageCoreNanoSeconds.value);
      expect(of(busy).memory.usageBytes.value).toBeGreaterThan(20_000_000);
      expect(of(idle).memory.workingSetBytes.value).toBeGreaterThan(0);
      const { linux } = (
        await pod.client.call<{
          stats: { linux: { containers: Stats[]; process: { processCount: { value: number } } } };
        }>('PodSandboxStats', { id: pod.id })
      ).stats;
      expect(linux.containers).toHaveLength(2);
    });
  });

  testIf(peerRelease() >= 2, 'containerd has the policy from 2.0 on')(
    'groups that the image gives a user are merged with those asked for, or not (SupplementalGroupsPolicy)',
    async () => {
      await kubelet().withPod({}, async (pod) => {
        const groups = async (supplementalGroupsPolicy: string): Promise<string> => {
          const security = { runAsUser: { value: 1000 }, supplementalGroups: [3000], supplementalGroupsPolicy };
          return pod.sh(await pod.run(['sleep', '1000'], { security }), 'id -G');
        };
        // 2000 is a group of the image that lists the user.
        expect((await groups('Merge')).split(' ').sort()).toEqual(['1000', '2000', '3000']);
        expect((await groups('Strict')).split(' ').sort()).toEqual(['1000', '3000']);
      });
    },
  );

  onMachinesContainerd('what a container may do follows its security context', async () => {
    await kubelet().withPod({}, async (pod) => {
      const id = await pod.run(['sleep', '1000'], {
        security: {
          runAsUser: { value: 1000 },
          runAsGroup: { value: 2000 },
          supplementalGroups: [3000],
          readonlyRootfs: true,
          noNewPrivs: true,
          capabilities: { addCapabilities: ['NET_BIND_SERVICE'], dropCapabilities: ['ALL'] },
        },
      });
      expect(await pod.sh(id, 'id -u; id -g; id -G')).toBe('1000\n2000\n2000 3000');
      expect(await pod.sh(id, 'touch /x 2>&1 || true')).toContain('Read-only');
      expect(await pod.sh(id, 'grep -E "NoNewPrivs|CapBnd" /proc/self/status | tr "\\n" " "')).toMatch(
        /CapBnd:\t0000000000000400 NoNewPrivs:\t1/,
      );
    });
  });
});
