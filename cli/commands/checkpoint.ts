import { type Command, InvalidArgumentError } from 'commander';
import type { Frame } from '../frame';
import { withBar } from '../progress-bar';

interface CheckpointFlags {
  readonly imagePath: string;
  readonly workPath?: string;
  readonly leaveRunning: boolean;
  readonly tcpEstablished: boolean;
  readonly extUnixSk: boolean;
}

export function registerCheckpoint(silt: Command, frame: Frame): void {
  silt
    .command('checkpoint')
    .description('save a running container to files, from which `silt restore` brings it back')
    .argument('<container-id>', 'the container; of a pod’s first one all containers are saved')
    .option('--image-path <directory>', 'the directory to write, which must be empty or not there', 'checkpoint')
    .option('--work-path <directory>', 'where CRIU’s log goes when the checkpoint fails')
    .option('--leave-running', 'let the container go on', false)
    .option('--tcp-established', 'save established TCP connections', false)
    .option('--ext-unix-sk', 'let unix sockets be whose other end is outside of the container', false)
    .option('--file-locks', 'accepted; file locks are always saved')
    .option('--shell-job', 'accepted; a terminal is saved as it is')
    .option('--manage-cgroups-mode <mode>', 'accepted; cgroups are silt’s, and CRIU leaves them alone')
    .option('--empty-ns <kind>', 'accepted; no namespace of the pod is saved')
    .option('--compression <how>', 'accepted: `none`', readCompression, 'none')
    .action((id: string, flags: CheckpointFlags) => save(frame, id, flags));
}

function readCompression(text: string): string {
  if (text !== 'none') throw new InvalidArgumentError('A checkpoint is not compressed: `none` is all there is.');
  return text;
}

async function save(frame: Frame, id: string, flags: CheckpointFlags): Promise<void> {
  const { openWorkshop } = await import('../workshop');
  const { RecordedContainer } = await import('../../sandbox');
  const { checkpointPod, isPod } = await import('../../sandbox/checkpoint-request/pod');
  // A signal ends the process by way of its exit handlers, which remove what was half written; CRIU lets the container go on.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  await withBar(`saving ${id}`, async (onProgress, clear) => {
    const options = {
      imagePath: flags.imagePath,
      workPath: flags.workPath === undefined ? undefined : { path: flags.workPath },
      leaveRunning: flags.leaveRunning,
      tcpEstablished: flags.tcpEstablished,
      externalUnixSockets: flags.extUnixSk,
      onWarning: (message: string) => {
        clear();
        process.stderr.write(`silt: warning: ${message}\n`);
      },
    };
    const workshop = openWorkshop(frame, onProgress);
    const container = RecordedContainer.find(workshop, id);
    if (isPod(workshop, container.state)) await checkpointPod(workshop, container.id, options);
    else await container.checkpoint(options);
  });
  process.exit(0);
}
