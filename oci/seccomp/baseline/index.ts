/** The seccomp filter that every container gets, whatever its spec asks for. */
import { baselineTemplates } from '../../../build/seccomp/baseline';
import { type Arch, C, hostArch } from '../../../syscall';
import type { SeccompFilter } from '../compile';
import { type BaselineName, type Capability, VERDICTS } from './profile';

export { BASELINES, type BaselineName } from './profile';

/**
 * Whoever has all of these owns the kernel: it loads modules into it, and writes to its ports and disks. Engines grant them
 * together to what they call privileged, which is meant to be free of filters.
 */
const PRIVILEGED: readonly Capability[] = ['CAP_SYS_ADMIN', 'CAP_SYS_MODULE', 'CAP_SYS_RAWIO'];

const has = (capabilities: bigint, name: Capability): boolean => ((capabilities >> BigInt(C[name])) & 1n) === 1n;

/** Whether a process with these capabilities in its bounding set is privileged. */
export function ownsKernel(bounding: bigint): boolean {
  return PRIVILEGED.every((capability) => has(bounding, capability));
}

/**
 * The baseline for a process with these capabilities in its bounding set, which is all that it can ever have; none for one that
 * is privileged. It is to be installed in addition to the filter of a spec: of what two filters say, the kernel takes the stricter
 * (seccomp(2)).
 */
export function baselineFilter(
  name: BaselineName | 'none',
  bounding: bigint,
  arch: Arch = hostArch,
): SeccompFilter | undefined {
  if (name === 'none' || ownsKernel(bounding)) return undefined;
  const template = baselineTemplates[arch][name];
  const bpf = Buffer.from(template.bpf, 'base64');
  VERDICTS.forEach(({ capabilities, errno }, i) => {
    const allowed = capabilities.some((capability) => has(bounding, capability));
    const returns = allowed ? C.SECCOMP_RET_ALLOW : C.SECCOMP_RET_ERRNO + errno;
    for (const at of template.places[i]!) bpf.writeUInt32LE(returns, at);
  });
  return { bpf, flags: template.flags };
}
