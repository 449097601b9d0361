import type { Cgroup } from './cgroup';
import { readMetricsV1, type MetricsV1 } from './stats-v1';
import { readMetricsV2, type MetricsV2 } from './stats-v2';

export type Metrics = MetricsV1 | MetricsV2;

/**
 * What the container has used, raw, in the shape of containerd's metrics messages (v1 for v1 and hybrid hosts).
 * Counters are bigint. A part whose controller or file is not there is left out. Raises SYSCALL_FAILED.
 */
export function readMetrics(cgroup: Cgroup): Metrics {
  return cgroup.mode === 'v2' ? readMetricsV2(cgroup) : readMetricsV1(cgroup);
}
