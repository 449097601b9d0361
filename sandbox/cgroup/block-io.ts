import { requireDirectory } from './cgroup';
import { U32_MAX, U64_MAX, specUnsupported, toInteger, toSetting, type Planning, type Write } from './values';
import type { BlockIoLimits, ThrottleDevice } from '../../oci';

/** The OCI spec's range for weights, also BFQ's. */
const WEIGHT = { min: 10n, max: 1000n };
const DEVICE_NUMBER = { min: 0n, max: U32_MAX };

/** The four throttle lists: the field, the file of v1, the key in io.max of v2. */
const THROTTLES = [
  { field: 'throttleReadBpsDevice', v1: 'read_bps_device', v2: 'rbps' },
  { field: 'throttleWriteBpsDevice', v1: 'write_bps_device', v2: 'wbps' },
  { field: 'throttleReadIOPSDevice', v1: 'read_iops_device', v2: 'riops' },
  { field: 'throttleWriteIOPSDevice', v1: 'write_iops_device', v2: 'wiops' },
] as const;

/** io.weight (blk-iocost) for a BFQ weight: 10…1000 onto 1…10000 in a straight line, as runc and crun do. */
export function blockWeightToIoWeight(weight: bigint): bigint {
  return 1n + ((weight - WEIGHT.min) * 9999n) / (WEIGHT.max - WEIGHT.min);
}

function refuseLeafWeight(value: number | undefined, jsonPath: string): void {
  if (toSetting(value, jsonPath, WEIGHT) === undefined) return;
  throw specUnsupported(jsonPath, 'leaf weights belonged to the CFQ scheduler, which left the kernel in 5.0');
}

function deviceNumber(device: { major: number; minor: number }, jsonPath: string): string {
  const major = toInteger(device.major, `${jsonPath}.major`, DEVICE_NUMBER) ?? 0n;
  const minor = toInteger(device.minor, `${jsonPath}.minor`, DEVICE_NUMBER) ?? 0n;
  return `${String(major)}:${String(minor)}`;
}

/**
 * BFQ's files, the only weights of v1 since 5.0; on v2 io.weight (blk-iocost) takes their place on a kernel without
 * BFQ.
 */
function planWeights(blockIO: BlockIoLimits, planning: Planning): Write[] {
  const { cgroup } = planning;
  const at = `${planning.at}.blockIO`;
  const v2 = cgroup.mode === 'v2';
  const writes: Write[] = [];
  const add = (name: string, device: string, weight: bigint, jsonPath: string): void => {
    const { path } = requireDirectory(cgroup, v2 ? 'io' : 'blkio', jsonPath);
    const why = device === '' ? 'block I/O weight' : `block I/O weight of device ${device}`;
    const prefix = device === '' ? '' : `${device} `;
    const bfq = { file: `${path}/${name}`, value: `${prefix}${String(weight)}`, why, jsonPath };
    const io = { file: `${path}/io.weight`, value: `${prefix}${String(blockWeightToIoWeight(weight))}` };
    writes.push(v2 ? { ...bfq, otherwise: io } : bfq);
  };
  refuseLeafWeight(blockIO.leafWeight, `${at}.leafWeight`);
  const weight = toSetting(blockIO.weight, `${at}.weight`, WEIGHT);
  if (weight !== undefined) add(v2 ? 'io.bfq.weight' : 'blkio.bfq.weight', '', weight, `${at}.weight`);
  for (const [index, entry] of (blockIO.weightDevice ?? []).entries()) {
    const jsonPath = `${at}.weightDevice[${index}]`;
    refuseLeafWeight(entry.leafWeight, `${jsonPath}.leafWeight`);
    const own = toSetting(entry.weight, `${jsonPath}.weight`, WEIGHT);
    const name = v2 ? 'io.bfq.weight' : 'blkio.bfq.weight_device';
    if (own !== undefined) add(name, deviceNumber(entry, jsonPath), own, `${jsonPath}.weight`);
  }
  return writes;
}

function planThrottle(
  device: ThrottleDevice,
  jsonPath: string,
  throttle: (typeof THROTTLES)[number],
  planning: Planning,
): Write {
  const { cgroup } = planning;
  const number = deviceNumber(device, jsonPath);
  const rate = toInteger(device.rate, `${jsonPath}.rate`, { min: 0n, max: U64_MAX }) ?? 0n;
  const why = `${throttle.v2} limit of device ${number}`;
  if (cgroup.mode === 'v2') {
    const { path } = requireDirectory(cgroup, 'io', jsonPath);
    // A rate of 0 lifts the limit: v1 takes the 0, v2 wants the word.
    return {
      file: `${path}/io.max`,
      value: `${number} ${throttle.v2}=${rate === 0n ? 'max' : String(rate)}`,
      why,
      jsonPath,
    };
  }
  const { path } = requireDirectory(cgroup, 'blkio', jsonPath);
  return { file: `${path}/blkio.throttle.${throttle.v1}`, value: `${number} ${String(rate)}`, why, jsonPath };
}

/** `resources.blockIO`. Raises SPEC_INVALID and SPEC_UNSUPPORTED. */
export function planBlockIO(blockIO: BlockIoLimits | undefined, planning: Planning): Write[] {
  if (blockIO === undefined) return [];
  const throttles = THROTTLES.flatMap((throttle) =>
    (blockIO[throttle.field] ?? []).map((device, index) =>
      planThrottle(device, `${planning.at}.blockIO.${throttle.field}[${index}]`, throttle, planning),
    ),
  );
  return [...planWeights(blockIO, planning), ...throttles];
}
