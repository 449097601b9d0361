import { SiltError } from '../../errors';
import { C } from '../../syscall';
import type { Config } from '../config/config';
import type { Host } from '../host';

/**
 * The oom_score_adj that a process gets for the one that its spec wants. Lowering it below silt's own takes CAP_SYS_RESOURCE, which
 * some hosts do not have; CRI asks for -998 for every pod.
 * @param warn is told of a value that was raised
 * @throws SiltError HOST_UNSUPPORTED for one that is not permitted, with `oom-score-adj = "strict"`.
 */
export function permittedOomScoreAdj(
  wanted: number | undefined,
  host: Pick<Host, 'ownCapabilities' | 'ownOomScoreAdj'>,
  config: Pick<Config, 'oomScoreAdj'>,
  warn: (message: string) => void,
): number | undefined {
  if (wanted === undefined || (host.ownCapabilities >> BigInt(C.CAP_SYS_RESOURCE)) & 1n) return wanted;
  const least = host.ownOomScoreAdj;
  if (wanted >= least) return wanted;
  const found = `$.process.oomScoreAdj: ${wanted} is lower than silt's own ${least}, which takes CAP_SYS_RESOURCE, and this host does not give it`;
  if (config.oomScoreAdj === 'strict') {
    const message = `${found}; set restrict_oom_score_adj = true in containerd's configuration, or oom-score-adj = "clamp" in silt's`;
    throw new SiltError('HOST_UNSUPPORTED', message, { jsonPath: '$.process.oomScoreAdj' });
  }
  warn(`${found}; it becomes ${least}`);
  return least;
}
