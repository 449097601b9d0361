/** Annotations of silt's own for restores; they are in gVisor's namespace, which engines are configured to pass on. */

type Annotations = Readonly<Record<string, string>>;

/** A checkpoint of a pod or of a container, below one of `checkpoint-directories`. */
export const RESTORE_PATH = 'dev.gvisor.internal.restore.path';
/** `true`: the container runs before its memory is there. */
const RESTORE_BACKGROUND = 'dev.gvisor.internal.restore.background';

/** Whether a container's annotations name a checkpoint that it is to go on from. */
export function asksForRestore(annotations: Annotations): boolean {
  return (annotations[RESTORE_PATH] ?? '') !== '';
}

/** Whether what is restored is to run before its memory is there, as with `silt restore --background`. */
export function restoresInBackground(annotations: Annotations): boolean {
  return isTrue(annotations[RESTORE_BACKGROUND]);
}

/** As Go's strconv.ParseBool has it, which gVisor reads annotations with. */
export function isTrue(value = ''): boolean {
  return ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value);
}
