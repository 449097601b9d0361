import { findUnifiedDirectory, requireDirectory } from './cgroup';
import {
  I64_MAX,
  U32_MAX,
  U64_MAX,
  specInvalid,
  specUnsupported,
  toInteger,
  toSetting,
  type Planning,
  type Write,
} from './values';
import type { Resources } from '../../oci';

/** PID_MAX_LIMIT of a 64-bit kernel: pids.max takes nothing above it. */
const PIDS_MAX = 4_194_304n;

/**
 * `resources.pids`: negative is no limit, and 0 is one (config-linux.md, "PIDs"): the least there is, as in runc from 1.4 on. The kernel
 * would take a 0, systemd does not.
 * Raises SPEC_INVALID, SPEC_UNSUPPORTED.
 */
export function planPids(pids: Resources['pids'], { cgroup, at }: Planning): Write[] {
  const jsonPath = `${at}.pids.limit`;
  const limit = toInteger(pids?.limit, jsonPath, { min: -I64_MAX, max: PIDS_MAX });
  if (limit === undefined) return [];
  const { path } = requireDirectory(cgroup, 'pids', jsonPath);
  const value = limit < 0n ? 'max' : String(limit || 1n);
  return [{ file: `${path}/pids.max`, value, why: 'pids limit', jsonPath }];
}

/** `resources.hugepageLimits`. Raises SPEC_INVALID, and SPEC_UNSUPPORTED without a hugetlb controller. */
export function planHugepages(limits: Resources['hugepageLimits'], { cgroup, at }: Planning): Write[] {
  return (limits ?? []).flatMap(({ pageSize, limit }, index) => {
    const place = `${at}.hugepageLimits[${index}]`;
    if (!/^[1-9]\d*[KMG]B$/.test(pageSize)) {
      throw specInvalid(`${place}.pageSize`, `${JSON.stringify(pageSize)} is no page size such as 2MB`);
    }
    const jsonPath = `${place}.limit`;
    const value = toInteger(limit, jsonPath, { min: 0n, max: U64_MAX });
    if (value === undefined) throw specInvalid(jsonPath, 'is missing');
    const { path } = requireDirectory(cgroup, 'hugetlb', jsonPath);
    const suffix = cgroup.mode === 'v2' ? 'max' : 'limit_in_bytes';
    const write = { value: String(value), why: `limit of ${pageSize} pages`, jsonPath };
    return [
      { ...write, file: `${path}/hugetlb.${pageSize}.${suffix}` },
      // Reservations are counted apart since 5.7: without this a program could reserve what it may not fault in.
      { ...write, file: `${path}/hugetlb.${pageSize}.rsvd.${suffix}`, optional: true },
    ];
  });
}

/** `resources.network`: v1 only (net_cls, net_prio). Raises SPEC_INVALID, SPEC_UNSUPPORTED. */
export function planNetwork(network: Resources['network'], { cgroup, at }: Planning): Write[] {
  const writes: Write[] = [];
  const directory = (controller: string, jsonPath: string): string => {
    if (cgroup.mode === 'v2')
      throw specUnsupported(jsonPath, `cgroup v2 has no ${controller}; use BPF or nftables on the host`);
    return requireDirectory(cgroup, controller, jsonPath).path;
  };
  const classId = toSetting(network?.classID, `${at}.network.classID`, { min: 0n, max: U32_MAX });
  if (classId !== undefined) {
    const jsonPath = `${at}.network.classID`;
    const file = `${directory('net_cls', jsonPath)}/net_cls.classid`;
    writes.push({ file, value: String(classId), why: 'network class', jsonPath });
  }
  for (const [index, { name, priority }] of (network?.priorities ?? []).entries()) {
    const jsonPath = `${at}.network.priorities[${index}]`;
    if (name === '' || /[\s/]/.test(name))
      throw specInvalid(`${jsonPath}.name`, `${JSON.stringify(name)} is no interface name`);
    const value = toInteger(priority, `${jsonPath}.priority`, { min: 0n, max: U32_MAX }) ?? 0n;
    const file = `${directory('net_prio', jsonPath)}/net_prio.ifpriomap`;
    writes.push({ file, value: `${name} ${String(value)}`, why: `priority on ${name}`, jsonPath });
  }
  return writes;
}

/** `resources.rdma`: rdma.max has the same form in both versions. Raises SPEC_INVALID, SPEC_UNSUPPORTED. */
export function planRdma(rdma: Resources['rdma'], { cgroup, at }: Planning): Write[] {
  return Object.entries(rdma ?? {}).flatMap(([device, limits]) => {
    const jsonPath = `${at}.rdma[${JSON.stringify(device)}]`;
    if (device === '' || /\s/.test(device)) throw specInvalid(jsonPath, 'is no device name');
    const range = { min: 0n, max: U32_MAX };
    const handles = toInteger(limits.hcaHandles, `${jsonPath}.hcaHandles`, range);
    const objects = toInteger(limits.hcaObjects, `${jsonPath}.hcaObjects`, range);
    const words = [
      handles === undefined ? '' : ` hca_handle=${String(handles)}`,
      objects === undefined ? '' : ` hca_object=${String(objects)}`,
    ].join('');
    if (words === '') return [];
    const { path } = requireDirectory(cgroup, 'rdma', jsonPath);
    return [{ file: `${path}/rdma.max`, value: `${device}${words}`, why: `RDMA limit of ${device}`, jsonPath }];
  });
}

/**
 * Files of the core that are limits; the others (cgroup.procs, cgroup.kill, …) act on processes and are silt's to use.
 */
const CORE_LIMITS = ['cgroup.max.depth', 'cgroup.max.descendants', 'cgroup.pressure'];

/**
 * `resources.unified`: v2 files by name, written last so that they win over the rest.
 * Raises SPEC_INVALID for a name that is no controller's file, SPEC_UNSUPPORTED on v1 and hybrid hosts.
 */
export function planUnified(unified: Resources['unified'], { cgroup, at }: Planning): Write[] {
  return Object.entries(unified ?? {}).map(([name, value]) => {
    const jsonPath = `${at}.unified[${JSON.stringify(name)}]`;
    if (cgroup.mode !== 'v2')
      throw specUnsupported(
        jsonPath,
        'invalid configuration: it is for cgroup v2, and this host keeps its controllers on v1',
      );
    const match = /^([a-z0-9_]+)\.[A-Za-z0-9_.]+$/.exec(name);
    if (match === null) throw specInvalid(jsonPath, 'the name must be a file name of the form controller.parameter');
    const controller = match[1]!;
    if (controller === 'cgroup' && !CORE_LIMITS.includes(name)) {
      throw specInvalid(jsonPath, `of the cgroup.* files only ${CORE_LIMITS.join(', ')} are limits`);
    }
    const core = controller === 'cgroup' ? findUnifiedDirectory(cgroup) : undefined;
    const directory = core ?? requireDirectory(cgroup, controller, jsonPath);
    return { file: `${directory.path}/${name}`, value, why: name, jsonPath };
  });
}
