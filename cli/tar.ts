import { isatty } from 'node:tty';
import { SiltError } from '../errors';
import { loadNative, openInterpreter } from '../native';
import { snapshotToFd, snapshotToFile, StateDirectory } from '../sandbox';
import { Kernel } from '../syscall';

const STDOUT = 1;

export interface TarRequest {
  readonly root: string;
  readonly id: string;
  readonly file?: string;
  readonly live: boolean;
}

/** `silt tar rootfs-upper`. @throws SiltError. */
export async function tarRootfsUpper({ root, id, file, live }: TarRequest): Promise<void> {
  if (file === undefined && isatty(STDOUT)) {
    throw new SiltError(
      'REQUEST_INVALID',
      'standard output is a terminal: give --file, or send the archive to a file or a pipe',
    );
  }
  // A signal ends the process by way of its exit handlers, which remove the half-written file.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  const native = loadNative();
  const options = {
    kernel: new Kernel(native, openInterpreter(undefined, native)),
    state: new StateDirectory(root),
    id,
    live,
    onWarning: (message: string) => process.stderr.write(`silt: warning: ${message}\n`),
  };
  if (file === undefined || file === '-') await snapshotToFd(options, STDOUT);
  else await snapshotToFile(options, file);
}
