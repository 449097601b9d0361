import { type Command, Option } from 'commander';
import { existsSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';
import { print } from '../print';

interface ListOptions {
  readonly format: 'table' | 'text' | 'json';
  readonly json: boolean;
  readonly quiet: boolean;
  readonly sandbox: boolean;
}

/** silt makes every container as root. */
const OWNER = 'root';

export function registerList(silt: Command, frame: Frame): void {
  silt
    .command('list')
    .description('list the containers below --root')
    .addOption(new Option('-f, --format <format>', 'how').choices(['table', 'text', 'json']).default('table'))
    .option('--json', 'as --format json', false)
    .option('-q, --quiet', 'ids alone', false)
    .option('--sandbox', 'the first containers of pods alone', false)
    .action((options: ListOptions) => list(frame, options));
}

async function list(frame: Frame, options: ListOptions): Promise<void> {
  const { openWorkshop } = await import('../workshop');
  const { RecordedContainer } = await import('../../sandbox');
  const { printedState } = await import('../container-state');
  const { criNames } = await import('../pod-table');
  const { table } = await import('../table');
  const workshop = openWorkshop(frame);
  // A root that somebody names is one that is there; runc has it so too.
  if (frame.isGiven('root') && !existsSync(workshop.state.root)) {
    const path = workshop.state.root;
    throw new SiltError('REQUEST_INVALID', `cannot list ${path}: no such file or directory`, { path });
  }
  const containers = RecordedContainer.all(workshop).filter(({ id, state }) => !options.sandbox || id === state.pod);
  if (options.quiet) {
    print(containers.map(({ id }) => `${id}\n`).join(''));
    return;
  }
  const states = containers.map(printedState);
  if (options.json || options.format === 'json') {
    // runc prints null for none; scripts index into it all the same.
    const owned = states.map((state) => ({ ...state, owner: OWNER }));
    print(states.length === 0 ? 'null\n' : `${JSON.stringify(owned)}\n`);
    return;
  }
  const names = containers.map(criNames);
  // runc's table; where Kubernetes has given names, with these behind it.
  const named = names.some(({ pod }) => pod !== '');
  const rows = states.map(({ id, pid, status, bundle, created }, i) => {
    const { name, pod, namespace } = names[i]!;
    return [id, `${pid}`, status, bundle, created, OWNER, ...(named ? [name, pod, namespace] : [])];
  });
  const header = ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER', ...(named ? ['NAME', 'POD', 'NAMESPACE'] : [])];
  print(table([header, ...rows]));
}
