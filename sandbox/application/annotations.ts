/** gVisor's annotations by which the programs of a container can have it checkpointed. */
import type { Spec } from '../../oci';

const PREFIX = 'dev.gvisor.internal.checkpoint.';

export interface ApplicationCheckpoint {
  /** The directory that the checkpoint becomes. Of the pod's first container; that of others is not looked at. */
  readonly path: string | undefined;
  /** The pod goes on when it has been saved. Of the first container, too. */
  readonly resume: boolean;
  /** The programs of this container may ask for it; without, only wait for it. */
  readonly enable: boolean;
}

/** What a container's annotations say; undefined when they say nothing of it. */
export function applicationCheckpoint({
  annotations = {},
}: Pick<Spec, 'annotations'>): ApplicationCheckpoint | undefined {
  if (!Object.keys(annotations).some((name) => name.startsWith(PREFIX))) return undefined;
  return {
    path: annotations[`${PREFIX}path`] || undefined,
    resume: isTrue(annotations[`${PREFIX}resume`]),
    enable: isTrue(annotations[`${PREFIX}enable`]),
  };
}

/** As Go's strconv.ParseBool has it, which gVisor reads annotations with. */
function isTrue(value = ''): boolean {
  return ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value);
}
