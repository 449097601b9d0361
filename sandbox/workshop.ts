import type { Kernel } from '../syscall';
import type { Config } from './config/config';
import type { Host } from './host';
import type { OnProgress } from './progress';
import type { StateDirectory } from './state/state';

/** What containers are made with: the same for all containers of a process. */
export interface Workshop {
  readonly kernel: Kernel;
  readonly host: Host;
  readonly config: Config;
  readonly state: StateDirectory;
  /** Told what is no reason to fail. */
  readonly warn?: (message: string) => void;
  /** Told how far what takes long is: a seed, a checkpoint, a restore. */
  readonly onProgress?: OnProgress | undefined;
}

/** Where warnings go: nowhere, when nobody has said. */
export function warningsOf({ warn }: Workshop): (message: string) => void {
  return warn ?? (() => undefined);
}
