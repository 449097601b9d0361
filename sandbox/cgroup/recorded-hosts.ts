/**
 * Hosts for the tests of this folder: what /proc says on them, with every mount under a directory of the test's choice.
 */
import { parseHierarchies, type Hierarchies } from './hierarchies';

/** Recorded on a virtual machine with Linux 6.18: v1 controllers one by one, and a unified hierarchy beside them. */
const HYBRID_MOUNTS = `
22 1 254:1 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / ROOT rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / ROOT/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / ROOT/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / ROOT/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / ROOT/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / ROOT/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / ROOT/freezer rw,relatime - cgroup cgroup rw,freezer
38 31 0:35 / ROOT/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / ROOT/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / ROOT/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / ROOT/unified rw,relatime - cgroup2 cgroup2 rw
`;
const HYBRID_SELF = `9:name=systemd:/
8:pids:/
7:blkio:/
6:freezer:/
5:devices:/
4:memory:/services/engine
3:cpuset:/
2:cpuacct:/
1:cpu:/
0::/
`;

/** A host with systemd's legacy layout: controllers that share a hierarchy, options that are no controllers. */
const V1_MOUNTS = `
25 30 0:22 / ROOT ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755
26 25 0:23 / ROOT/systemd rw,nosuid,nodev,noexec,relatime shared:9 - cgroup cgroup rw,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd
28 25 0:25 / ROOT/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct
29 25 0:26 / ROOT/memory rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,memory
30 25 0:27 / ROOT/cpuset rw,nosuid,nodev,noexec,relatime shared:12 - cgroup cgroup rw,cpuset,clone_children
31 25 0:28 / ROOT/devices rw,nosuid,nodev,noexec,relatime shared:13 - cgroup cgroup rw,devices
32 25 0:29 / ROOT/freezer rw,nosuid,nodev,noexec,relatime shared:14 - cgroup cgroup rw,freezer
33 25 0:30 / ROOT/blkio rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,blkio
34 25 0:31 / ROOT/pids rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,pids
35 25 0:32 / ROOT/hugetlb rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,hugetlb
36 25 0:33 / ROOT/net_cls,net_prio rw,nosuid,nodev,noexec,relatime shared:18 - cgroup cgroup rw,net_cls,net_prio
37 25 0:34 / ROOT/rdma rw,nosuid,nodev,noexec,relatime shared:19 - cgroup cgroup rw,rdma
`;
const V1_SELF = `12:rdma:/
11:net_cls,net_prio:/
10:hugetlb:/
9:pids:/system.slice/containerd.service
8:blkio:/system.slice/containerd.service
7:freezer:/
6:devices:/system.slice/containerd.service
5:cpuset:/
4:memory:/system.slice/containerd.service
3:cpu,cpuacct:/system.slice/containerd.service
1:name=systemd:/system.slice/containerd.service
`;

const V2_MOUNTS = `
30 23 0:26 / ROOT rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`;
const V2_SELF = '0::/system.slice/containerd.service\n';

/** cgroup.controllers of the v2 host. */
export const V2_CONTROLLERS = 'cpuset cpu io memory hugetlb pids rdma misc\n';

export type RecordedHost = 'v1' | 'v2' | 'hybrid';

const TEXTS = {
  v1: [V1_MOUNTS, V1_SELF],
  v2: [V2_MOUNTS, V2_SELF],
  hybrid: [HYBRID_MOUNTS, HYBRID_SELF],
} as const;

export function recordedTexts(host: RecordedHost, root = '/sys/fs/cgroup'): { mountinfo: string; selfCgroup: string } {
  const [mounts, selfCgroup] = TEXTS[host];
  return { mountinfo: mounts.replaceAll('ROOT', root), selfCgroup };
}

/** The hierarchies of a recorded host. `controllers` is its cgroup.controllers (v2). */
export function recordedHierarchies(
  host: RecordedHost,
  root = '/sys/fs/cgroup',
  controllers = V2_CONTROLLERS,
): Hierarchies {
  return parseHierarchies({ ...recordedTexts(host, root), readControllers: () => controllers });
}
