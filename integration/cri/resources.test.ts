/** Limits of pods and containers as a kubelet lays them out, changed while they run, and the figures that it reads. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onMachinesContainerd, peerRelease, testIf } from '../harness';
import type { Kubelet, TestPod } from '../harness/cri/kubelet';
import { criSuite } from '../harness/cri/suite';

const v2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
const memoryFile = v2 ? 'memory.max' : 'memory.limit_in_bytes';

/** Where the memory cgroup with this path is. */
const memoryCgroup = (path: string): string => join('/sys/fs/cgroup', v2 ? '' : 'memory', path);
const read = (path: string): string => readFileSync(path, 'latin1').trim();
const limitOf = (pod: TestPod, id: string): string =>
  read(join(memoryCgroup(pod.config.linux.cgroupParent), id, memoryFile));

interface Value {
  readonly value: number;
}
interface Usage {
  readonly cpu: { readonly usageCoreNanoSeconds: Value };
  readonly memory: { readonly workingSetBytes: Value };
}
interface ContainerStats extends Usage {
  readonly attributes: { readonly id: string };
  readonly writableLayer: { readonly fsId: { readonly mountpoint: string } };
}
interface PodStats extends Usage {
  readonly network: { readonly defaultInterface: { readonly name: string; readonly rxBytes: Value } };
  readonly process: { readonly processCount: Value };
  readonly containers: readonly ContainerStats[];
}

/** What the kernel counts of a cgroup: CPU in ns, and memory without the part that it would drop first (cAdvisor's working set). */
function usageOf(path: string): { cpu: number; workingSet: number } {
  const memory = memoryCgroup(path);
  const entry = (text: string, key: string): number => Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)![1]);
  const inactive = entry(read(join(memory, 'memory.stat')), v2 ? 'inactive_file' : 'total_inactive_file');
  const used = Number(read(join(memory, v2 ? 'memory.current' : 'memory.usage_in_bytes')));
  const cpu = v2
    ? entry(read(join('/sys/fs/cgroup', path, 'cpu.stat')), 'usage_usec') * 1000
    : Number(read(join('/sys/fs/cgroup/cpuacct', path, 'cpuacct.usage')));
  return { cpu, workingSet: used - inactive };
}

criSuite('resources of a pod', {}, resourcesOfPods);
criSuite('resources of a pod without a pause container', { cri: { sandboxer: 'shim' }, needs: 2 }, resourcesOfPods);

function resourcesOfPods(kubelet: () => Kubelet): void {
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

  test('stats of containers and of the pod are those of their cgroups and of the pod’s network', async () => {
    await kubelet().withPod({}, async (pod) => {
      const busy = await pod.run(['sh', '-c', 'head -c 20000000 /dev/zero > /dev/shm/held; while :; do :; done']);
      const idle = await pod.run();
      await pod.sh(busy, 'until [ $(wc -c < /dev/shm/held) = 20000000 ]; do sleep 0.1; done');
      const parent = pod.config.linux.cgroupParent;
      const counters = async () => ({
        busy: usageOf(join(parent, busy)),
        idle: usageOf(join(parent, idle)),
        pod: usageOf(parent),
        received: Number(await pod.sh(idle, 'cat /sys/class/net/eth0/statistics/rx_bytes')),
      });
      const before = await counters();
      const { stats } = await pod.client.call<{ stats: ContainerStats[] }>('ListContainerStats', {
        filter: { podSandboxId: pod.id },
      });
      const { linux } = (await pod.client.call<{ stats: { linux: PodStats } }>('PodSandboxStats', { id: pod.id }))
        .stats;
      const after = await counters();
      const between = (value: number, low: number, high: number): void => {
        expect(value).toBeGreaterThanOrEqual(low);
        expect(value).toBeLessThanOrEqual(high);
      };
      // Of the exec that has just ended, and pages that may be dropped and read again.
      const slack = 4 << 20;
      const find = (list: readonly ContainerStats[], id: string): ContainerStats =>
        list.find(({ attributes }) => attributes.id === id)!;
      for (const list of [stats, linux.containers]) {
        expect(list.map(({ attributes }) => attributes.id).sort()).toEqual([busy, idle].sort());
        for (const [id, name] of [
          [busy, 'busy'],
          [idle, 'idle'],
        ] as const) {
          const { cpu, memory } = find(list, id);
          between(cpu.usageCoreNanoSeconds.value, before[name].cpu, after[name].cpu);
          between(memory.workingSetBytes.value, before[name].workingSet - slack, after[name].workingSet + slack);
        }
      }
      expect(find(stats, busy).memory.workingSetBytes.value).toBeGreaterThan(20_000_000);
      expect(find(stats, idle).writableLayer.fsId.mountpoint).toContain('snapshotter');
      between(linux.cpu.usageCoreNanoSeconds.value, before.pod.cpu, after.pod.cpu);
      between(linux.memory.workingSetBytes.value, before.pod.workingSet - slack, after.pod.workingSet + slack);
      expect(linux.network.defaultInterface.name).toBe('eth0');
      between(linux.network.defaultInterface.rxBytes.value, before.received, after.received);
      // One in each container, and none of the pause container, which containerd leaves out; an exec may just be ending.
      between(linux.process.processCount.value, 2, 3);
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
}
