import { C } from '../syscall';
import type { BundleOptions } from './bundle-flags';
import { createFromBundle } from './create-from-bundle';
import { passSignalsOn } from './foreground';
import type { Frame } from './frame';

export interface RunOptions extends BundleOptions {
  readonly detach: boolean;
  readonly keep: boolean;
  /** A checkpoint that the container goes on from. */
  readonly imagePath?: string;
  readonly workPath?: string;
  /** Bring the checkpoint's memory when it is used. */
  readonly background?: boolean;
}

/** Creates, starts, and ends this process with the container's status. @throws SiltError; nothing is left then. */
export async function runBundle(frame: Frame, id: string, options: RunOptions): Promise<void> {
  const created = await createFromBundle(frame, id, options);
  const { container, recorded, pod, streams, workshop } = created;
  try {
    if (!options.detach) {
      streams.connect();
      passSignalsOn((signal) => container.init.exit === undefined && workshop.kernel.signal(container.init.fd, signal));
    }
    // What CRIU has restored waits for this process, not at a socket.
    await (options.imagePath === undefined ? recorded : container).start();
  } catch (error) {
    if (!container.init.exit) workshop.kernel.signal(container.init.fd, C.SIGKILL);
    await container.init.exited;
    // Nobody else reaps it, and the sandbox, process 1 of its pid namespace, does not end before that.
    workshop.kernel.reapChild(container.init.pid);
    await streams.finish();
    await recorded.delete({ force: true });
    throw error;
  }
  if (options.detach) process.exit(0);
  const { status } = await container.init.exited;
  // Its end was left for a subreaper to see, which here is nobody else.
  workshop.kernel.reapChild(container.init.pid);
  await streams.finish();
  const { memoryFailure } = recorded;
  if (!options.keep) {
    await recorded.delete({ force: true });
    if (pod.id === id) await pod.sandbox.exited;
  }
  if (memoryFailure !== undefined) process.stderr.write(`silt: the container was ended: ${memoryFailure}\n`);
  process.exit(status);
}
