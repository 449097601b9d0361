/**
 * Pods whose cgroups systemd makes: a kubelet and containerd with the driver `systemd` (`SystemdCgroup` in the runtime's options), slices for
 * pods and scopes in them for containers. On v1, where a unit has its hierarchies' controllers on this machine; containerd gives every pod limits.
 */
import { isSilt, mustRun, peerRelease, waitFor } from '../harness';
import { criSuite } from '../harness/cri/suite';

// What silt's own configuration says does not hold beside the options; but containerd 1.6 does not hand on those of a runtime that it does not know.
const silt = { more: `cgroup-driver = "${peerRelease() >= 1.7 ? 'cgroupfs' : 'systemd'}"` };
/** The slice of a pod, and the path that a kubelet gives for it. */
const sliceOf = (name: string): { slice: string; cgroupParent: string } => {
  const slice = `kubepods-burstable-pod${name}.slice`;
  return { slice, cgroupParent: `/kubepods.slice/kubepods-burstable.slice/${slice}` };
};
/** A network of its own takes sysctls, and /proc/sys is read-only beside that systemd. */
const network = 'NODE';
const first = { network, linux: { cgroupParent: sliceOf('first').cgroupParent } } as const;
const settings = { ...silt, systemd: 'hybrid', cri: { systemdCgroup: true }, first } as const;

criSuite('pods in slices of systemd’s', settings, (kubelet) => {
  const unit = (id: string): string => `cri-containerd-${id}.scope`;
  const show = (id: string, ...properties: string[]): Promise<Record<string, string>> =>
    kubelet().containerd.systemd.show(unit(id), properties);

  test.each(isSilt ? ['silt', 'runc'] : ['runc'])(
    'a pod and its containers are scopes in the pod’s slice, until they are removed, with %s',
    async (handler) => {
      const { slice, cgroupParent } = sliceOf(`${handler}1`);
      const scopes: string[] = [];
      await kubelet().withPod({ handler, network, linux: { cgroupParent } }, async (pod) => {
        const resources = { memoryLimitInBytes: 64 << 20, cpuShares: 512, cpuQuota: 20_000, cpuPeriod: 100_000 };
        const id = await pod.run(['sleep', '1000'], { resources });
        scopes.push(pod.id, id);
        for (const one of scopes)
          expect(await show(one, 'Slice', 'Delegate', 'ActiveState', 'ControlGroup')).toEqual({
            Slice: slice,
            Delegate: 'yes',
            ActiveState: 'active',
            ControlGroup: `${cgroupParent}/${unit(one)}`,
          });
        const limits = async (): Promise<unknown> => [
          await show(id, 'MemoryLimit'),
          await pod.sh(id, 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes'),
        ];
        expect(await limits()).toEqual([{ MemoryLimit: `${64 << 20}` }, `${64 << 20}`]);
        await pod.client.call('UpdateContainerResources', { id, linux: { memoryLimitInBytes: 96 << 20 } });
        expect(await limits()).toEqual([{ MemoryLimit: `${96 << 20}` }, `${96 << 20}`]);
      });
      for (const id of scopes)
        await waitFor(`systemd to forget ${unit(id)}`, async () =>
          (await show(id, 'LoadState'))['LoadState'] === 'not-found' ? true : undefined,
        );
      // The slice is the kubelet's.
      const { systemd, mark } = kubelet().containerd;
      await mustRun(systemd.words(['systemctl', 'stop', slice]));
      kubelet().removeCgroup(`${mark}-systemd${cgroupParent}`);
    },
  );
});
