import { type Command, Option } from 'commander';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';
import { passOn } from '../go-flags';
import { print } from '../print';

interface PsOptions {
  readonly format: 'table' | 'json';
  readonly json: boolean;
}

export function registerPs(silt: Command, frame: Frame): void {
  const ps = silt
    .command('ps')
    .description(
      'list the processes of a container, as ps(1) of the host shows them; without one, containers by pod as crictl shows them',
    )
    .addOption(new Option('-f, --format <format>', 'how').choices(['table', 'json']).default('table'))
    .option('--json', 'as JSON: the pids, or the containers', false)
    .argument('[container-id]', 'the container')
    .argument('[ps-options...]', 'options for ps(1)', ['-ef']);
  passOn(ps).action((id: string | undefined, flags: readonly string[], options: PsOptions) =>
    id === undefined ? listPods(frame, options) : list(frame, id, flags, options),
  );
}

async function listPods(frame: Frame, options: PsOptions): Promise<void> {
  const { openWorkshop } = await import('../workshop');
  const { RecordedContainer } = await import('../../sandbox');
  const { podRows, podTable } = await import('../pod-table');
  const containers = RecordedContainer.all(openWorkshop(frame));
  const asJson = options.json || options.format === 'json';
  print(asJson ? `${JSON.stringify(podRows(containers))}\n` : podTable(containers));
}

async function list(frame: Frame, id: string, flags: readonly string[], options: PsOptions): Promise<void> {
  const { openContainer } = await import('../workshop');
  const { pids } = openContainer(frame, id);
  if (options.json || options.format === 'json') {
    print(`${JSON.stringify(pids)}\n`);
    return;
  }
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const { status, stdout, stderr, error } = spawnSync('ps', flags, { encoding: 'utf8' });
  if (error || status !== 0) {
    throw new SiltError('REQUEST_INVALID', `ps ${flags.join(' ')}: ${error?.message ?? stderr.trim()}`);
  }
  const [header = '', ...lines] = stdout.split('\n');
  const column = header.trim().split(/\s+/).indexOf('PID');
  if (column < 0) throw new SiltError('REQUEST_INVALID', 'ps: the output has no PID column; choose other options');
  const wanted = new Set(pids.map(String));
  const own = lines.filter((line) => wanted.has(line.trim().split(/\s+/)[column] ?? ''));
  print([header, ...own].map((line) => `${line}\n`).join(''));
}
