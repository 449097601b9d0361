import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';
import { print } from '../print';

interface EventsOptions {
  readonly stats: boolean;
  readonly interval: string;
}

export function registerEvents(silt: Command, frame: Frame): void {
  silt
    .command('events')
    .description('print what a container uses as JSON, at intervals, and when it was out of memory')
    .argument('<container-id>', 'the container')
    .option('--stats', 'once', false)
    .option('--interval <duration>', 'time between two lines, such as 5s or 500ms; a number is seconds', '5s')
    .action((id: string, options: EventsOptions) => watch(frame, id, options));
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, '': 1000 };

/** A duration of Go's, of one unit. @throws SiltError REQUEST_INVALID. */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/.exec(text);
  const ms = match ? Number(match[1]) * UNITS[match[2]!]! : 0;
  if (ms > 0) return ms;
  throw new SiltError(
    'REQUEST_INVALID',
    `duration interval must be greater than 0, such as 5s: ${JSON.stringify(text)}`,
  );
}

async function watch(frame: Frame, id: string, { stats, interval }: EventsOptions): Promise<void> {
  const { openWorkshop } = await import('../workshop');
  const { cgroups, RecordedContainer, watchOom } = await import('../../sandbox');
  const { runcStats } = await import('../runc-stats');
  const everyMs = durationMs(interval);
  const workshop = openWorkshop(frame);
  const container = RecordedContainer.find(workshop, id);
  if (container.pid === 0) throw new SiltError('WRONG_STATE', `container with id ${id} is not running`, { id });
  const say = (event: object): void => {
    print(`${JSON.stringify(event)}\n`);
  };
  const sayStats = (): void =>
    say({ type: 'stats', id: container.id, data: runcStats(cgroups.readMetrics(container.cgroup)) });
  // Before the first line, after which a reader may have the container run out of memory.
  if (!stats) watchOom(workshop.kernel, container.cgroup, () => say({ type: 'oom', id: container.id }));
  sayStats();
  if (stats) process.exit(0);
  void container.ended().then(() => process.exit(0));
  for (;;) {
    await sleep(everyMs);
    if (container.pid !== 0) sayStats();
  }
}
