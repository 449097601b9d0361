/** What a restore is given. */
import type { Cgroup } from '../cgroup';
import type { CpuView } from '../cpuid';
import type { LaunchPlan } from '../programs/launch';
import type { Lifetime, Process } from '../process/process';
import type { AllowedDevice } from '../seed/unpacker-requests';
import type { CheckpointImage } from './image';

export interface RestoreRequest {
  readonly id: string;
  readonly plan: LaunchPlan;
  readonly image: CheckpointImage;
  /** Fds by the names in STDIO; none with a terminal. Borrowed. */
  readonly stdio: Readonly<Record<string, number>>;
  /** The container's upper, filled. Borrowed. */
  readonly upper: number;
  /** What hides the filestore from the container, if that lies in its own root filesystem. Borrowed. */
  readonly cover: number | undefined;
  /** What else mounts of the root filesystem need, by the names of its plan; borrowed. */
  readonly mountFds: Readonly<Record<string, number>>;
  /** What the checkpoint file is that its processes have open. Borrowed. */
  readonly checkpointFile: number | undefined;
  readonly devices: readonly AllowedDevice[];
  readonly onTerminal: (master: number) => void;
  readonly lifetime: Lifetime;
  readonly cgroup: Cgroup;
  /** What its programs are shown of the CPU; undefined for all. */
  readonly cpu: CpuView | undefined;
  /** Of the container's state. */
  readonly stateDirectory: string;
  /** Where the caller wants CRIU's log. */
  readonly workPath: string | undefined;
  /**
   * Called when the root is complete and the gofer waits; see LaunchPlan's hooks.
   * @param mountNamespace an fd of the one where it is built, borrowed: the process will be in it at the end
   * @param givenUp aborted when the restore has failed meanwhile: what runs for it is to be ended, and the promise rejected
   */
  readonly onQuestion: (processes: HookedRestore, mountNamespace: number, givenUp: AbortSignal) => Promise<void>;
}

export interface HookedRestore {
  /** The first process. */
  readonly init: Process;
  /** Pid of one that is where the first one will be, for as long as the gofer waits. */
  readonly standIn: number;
}
