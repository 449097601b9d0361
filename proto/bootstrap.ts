/** What the shim's program gets and gives when containerd runs it: `start`, `delete` and `-info`. */
import type * as generated from '../build/proto/contracts';
import { contracts, LogLevel } from '../build/proto/contracts';
import { SiltError } from '../errors';
import { codec } from './codec';

export { LogLevel };
/** stdin of `start`, containerd 2.3 and later. */
export const BootstrapParams = codec(contracts.BootstrapParams);
export type BootstrapParams = generated.BootstrapParams;
/** stdout of `start`, containerd 2.3 and later. */
export const BootstrapResult = codec(contracts.BootstrapResult);
export type BootstrapResult = generated.BootstrapResult;
/** stdout of `-info`. */
export const RuntimeInfo = codec(contracts.RuntimeInfo);
export type RuntimeInfo = generated.RuntimeInfo;

/**
 * The parameters on stdin of `start`, or undefined if containerd is older than 2.3 (its stdin is empty, or an Any with the
 * runtime's options, which can look like parameters). As in containerd's own shims, they are parameters if they repeat the
 * id and namespace of the command line.
 */
export function readBootstrapParams(stdin: Uint8Array, id: string, namespace: string): BootstrapParams | undefined {
  if (stdin.length === 0) return undefined;
  try {
    const params = BootstrapParams.decode(stdin);
    return params.instanceId === id && params.namespace === namespace ? params : undefined;
  } catch (error) {
    if (error instanceof SiltError) return undefined;
    throw error;
  }
}
