import type { Command } from 'commander';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';
import { isTerminal } from '../is-terminal';
import { withBar } from '../progress-bar';

const STDOUT = 1;

export function registerTar(silt: Command, frame: Frame): void {
  const tar = silt.command('tar').description('archives of a container’s filesystem');
  tar
    .command('rootfs-upper')
    .description('write what a container changed in its root filesystem as a tar')
    .argument('<container-id>', 'the container, or a beginning of its id that no other has')
    .option('--file <path>', 'the file to write; standard output without it')
    .option('--live', 'do not freeze the container meanwhile', false)
    .action((id: string, options: { file?: string; live: boolean }) => writeRootfsUpper(frame, { id, ...options }));
}

async function writeRootfsUpper(
  frame: Frame,
  { id, file, live }: { id: string; file?: string; live: boolean },
): Promise<void> {
  if (file === undefined && isTerminal(STDOUT)) {
    throw new SiltError(
      'REQUEST_INVALID',
      'standard output is a terminal: give --file, or send the archive to a file or a pipe',
    );
  }
  const { openWorkshop } = await import('../workshop');
  const { expectShortRun } = await import('../../sandbox/archive');
  const { snapshotToFd, snapshotToFile } = await import('../../sandbox/snapshot/snapshot');
  expectShortRun();
  // A signal ends the process by way of its exit handlers, which remove the half-written file.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  const { kernel, state } = openWorkshop(frame);
  await withBar(`saving ${id}`, async (onProgress, clear) => {
    const onWarning = (message: string): void => {
      clear();
      process.stderr.write(`silt: warning: ${message}\n`);
    };
    const options = { kernel, state, id, live, onWarning, onProgress };
    if (file === undefined || file === '-') await snapshotToFd(options, STDOUT);
    else await snapshotToFile(options, file);
  });
}
