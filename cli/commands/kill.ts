import type { Command } from 'commander';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';

interface KillOptions {
  readonly all: boolean;
  readonly pid?: string;
}

export function registerKill(silt: Command, frame: Frame): void {
  silt
    .command('kill')
    .description('send a signal to a container’s first process')
    .argument('<container-id>', 'the container')
    .argument('[signal]', 'a name or a number', 'SIGTERM')
    .option('-a, --all', 'to all of its processes', false)
    .option('--pid <pid>', 'to this process of the container, as the host numbers it')
    .action((id: string, signal: string, options: KillOptions) => kill(frame, id, signal, options));
}

async function kill(frame: Frame, id: string, name: string, { all, pid }: KillOptions): Promise<void> {
  const { signalNumber } = await import('../../syscall');
  const { openWorkshop } = await import('../workshop');
  const { RecordedContainer } = await import('../../sandbox');
  // 0 asks whether there is a process, as kill(2) has it.
  const signal = name === '0' ? 0 : signalNumber(name);
  if (signal === undefined) throw new SiltError('REQUEST_INVALID', `unknown signal ${JSON.stringify(name)}`);
  const container = RecordedContainer.named(openWorkshop(frame), id);
  if (pid !== undefined) {
    const number = Number(pid);
    if (!container.pids.includes(number)) {
      throw new SiltError('PROCESS_NOT_FOUND', `container ${id} has no process ${pid}`, { id });
    }
    process.kill(number, signal);
  } else {
    await container.kill(signal, { all });
  }
  process.exit(0);
}
