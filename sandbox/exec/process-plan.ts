import { SiltError } from '../../errors';
import {
  baselineFilter,
  capabilityMasks,
  compileSeccomp,
  cpuMask,
  execCandidates,
  ioPriorityNumber,
  memoryPolicyNumbers,
  type Process as ProcessSpec,
  rlimitNumbers,
  schedulerAttributes,
  type Spec,
  uniqueEnv,
} from '../../oci';
import type { Config } from '../config/config';
import { CPU_FEATURES_ANNOTATION } from '../cpuid';
import { grantedCapabilities } from './granted-capabilities';
import { execLabels } from './exec-labels';
import type { Host } from '../host';
import { homeOf } from './home';
import { permittedOomScoreAdj } from './oom-score';
import type { ProcessPlan } from '../programs/process';
import { C, type Kernel } from '../../syscall';

export interface ProcessSurroundings {
  readonly kernel: Kernel;
  readonly host: Host;
  readonly config: Pick<Config, 'baseline' | 'oomScoreAdj'>;
  readonly warn?: (message: string) => void;
}

/** Where a process runs. */
export interface ProcessPlace {
  /** Of the container's root filesystem, to find the user's home in when the environment has no HOME. */
  readonly layers: readonly string[];
  /** Whether it is in a user namespace of the pod's, where every capability can be had. */
  readonly userns: boolean;
}

/** What a process has that its spec does not say; see ProcessPlan. */
export interface ProcessExtras {
  readonly passFds?: readonly number[];
  readonly newKeyring?: boolean;
}

const DEFAULT_UMASK = 0o022;
/** What a capability set is when the spec has none: nothing (OCI runtime spec, config, "capabilities"). */
const NO_CAPABILITIES = {};

function maskOf(cpus: string | undefined): Uint8Array | undefined {
  return cpus === undefined ? undefined : cpuMask(cpus);
}

/**
 * Plans a process of a container.
 * @throws SiltError for what the spec has that this host cannot do.
 */
export function planProcess(
  { kernel, host, config, warn = () => undefined }: ProcessSurroundings,
  spec: Spec,
  process: ProcessSpec,
  { layers, userns, passFds = [], newKeyring = true }: ProcessExtras & ProcessPlace,
): ProcessPlan {
  const argv = process.args;
  if (argv.length === 0)
    throw new SiltError('SPEC_INVALID', '$.process.args: must name a program', { jsonPath: '$.process.args' });
  const uid = process.user?.uid ?? 0;
  const wanted = capabilityMasks(process.capabilities ?? NO_CAPABILITIES, host.lastCapability);
  const capabilities = userns ? wanted : grantedCapabilities(wanted, host.ownCapabilities, warn);
  const { personality, memoryPolicy } = spec.linux ?? {};
  // An empty HOME is none, as runc has it.
  const env = uniqueEnv(process.env ?? []).filter((entry) => entry !== 'HOME=');
  if (!env.some((entry) => entry.startsWith('HOME='))) env.push(`HOME=${homeOf(kernel, layers, uid)}`);
  return {
    argv,
    env,
    candidates: execCandidates(argv[0]!, env),
    cwd: process.cwd,
    uid,
    gid: process.user?.gid ?? 0,
    additionalGids: process.user?.additionalGids ?? [],
    umask: process.user?.umask ?? DEFAULT_UMASK,
    capabilities,
    lastCapability: host.lastCapability,
    noNewPrivileges: process.noNewPrivileges ?? false,
    baseline: baselineFilter(config.baseline, capabilities.bounding),
    seccomp: spec.linux?.seccomp ? compileSeccomp(spec.linux.seccomp) : undefined,
    labels: execLabels(process, host),
    rlimits: rlimitNumbers(process.rlimits ?? []).map((limit) => ({
      ...limit,
      raise: limit.hard > host.hardLimit(limit.procName),
    })),
    oomScoreAdj: permittedOomScoreAdj(process.oomScoreAdj, host, config, warn),
    ioPriority: process.ioPriority && ioPriorityNumber(process.ioPriority),
    scheduler: process.scheduler && schedulerAttributes(process.scheduler),
    memoryPolicy: memoryPolicy && memoryPolicyNumbers(memoryPolicy),
    personality: personality && (personality.domain === 'LINUX32' ? C.PER_LINUX32 : C.PER_LINUX),
    affinity: { initial: maskOf(process.execCPUAffinity?.initial), final: maskOf(process.execCPUAffinity?.final) },
    terminal: process.terminal ?? false,
    newKeyring,
    passFds,
    traced: spec.annotations?.[CPU_FEATURES_ANNOTATION] !== undefined,
    terminalSize: process.consoleSize && { rows: process.consoleSize.height, columns: process.consoleSize.width },
  };
}
