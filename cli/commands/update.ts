import type { Command } from 'commander';
import { readFileSync } from 'node:fs';
import { SiltError } from '../../errors';
import type { Resources } from '../../oci';
import type { Frame } from '../frame';

/** A flag of runc's, and where in the spec's resources its number or text goes. */
interface Flag {
  readonly flag: string;
  readonly help: string;
  readonly path: readonly [string, string];
  readonly text?: true;
  /** Bytes, which may have a unit. */
  readonly size?: true;
}

const FLAGS: readonly Flag[] = [
  { flag: 'blkio-weight', help: 'weight of I/O, 10 to 1000', path: ['blockIO', 'weight'] },
  { flag: 'cpu-period', help: 'period of the CPU limit in microseconds', path: ['cpu', 'period'] },
  { flag: 'cpu-quota', help: 'CPU time in a period in microseconds', path: ['cpu', 'quota'] },
  { flag: 'cpu-burst', help: 'CPU time that may be saved up in microseconds', path: ['cpu', 'burst'] },
  { flag: 'cpu-share', help: 'CPU shares, beside other containers', path: ['cpu', 'shares'] },
  { flag: 'cpu-rt-period', help: 'period of the real-time limit in microseconds', path: ['cpu', 'realtimePeriod'] },
  { flag: 'cpu-rt-runtime', help: 'real-time CPU time in a period', path: ['cpu', 'realtimeRuntime'] },
  { flag: 'cpuset-cpus', help: 'CPUs to use', path: ['cpu', 'cpus'], text: true },
  { flag: 'cpuset-mems', help: 'memory nodes to use', path: ['cpu', 'mems'], text: true },
  { flag: 'cpu-idle', help: '1: run when nothing else wants to', path: ['cpu', 'idle'] },
  { flag: 'memory', help: 'memory in bytes, or with a unit such as 50M', path: ['memory', 'limit'], size: true },
  {
    flag: 'memory-reservation',
    help: 'memory that it should have, in bytes',
    path: ['memory', 'reservation'],
    size: true,
  },
  { flag: 'memory-swap', help: 'memory and swap in bytes, -1 for no limit', path: ['memory', 'swap'], size: true },
  { flag: 'kernel-memory', help: 'accepted; kernels do not limit it any more', path: ['memory', 'kernel'], size: true },
  { flag: 'kernel-memory-tcp', help: 'memory of TCP buffers in bytes', path: ['memory', 'kernelTCP'], size: true },
  { flag: 'pids-limit', help: 'number of processes', path: ['pids', 'limit'] },
];

export function registerUpdate(silt: Command, frame: Frame): void {
  const update = silt
    .command('update')
    .description('change the limits of a container')
    .argument('<container-id>', 'the container')
    .option('-r, --resources <file>', 'the resources as JSON, - for standard input; other flags are ignored then');
  for (const { flag, help } of FLAGS) update.option(`--${flag} <value>`, help);
  update
    .option('--l3-cache-schema <schema>', 'shares of L3 caches, such as L3:0=7f0;1=1f')
    .option('--mem-bw-schema <schema>', 'shares of the memory bandwidth, such as MB:0=20;1=70')
    .action((id: string, options: Readonly<Record<string, string>>) => change(frame, id, options));
}

async function change(frame: Frame, id: string, options: Readonly<Record<string, string>>): Promise<void> {
  const { RecordedContainer, updateContainer, updateSchemata } = await import('../../sandbox');
  const { openWorkshop } = await import('../workshop');
  const resources = await wantedResources(options);
  const workshop = openWorkshop(frame);
  const container = RecordedContainer.find(workshop, id);
  if (container.status === 'stopped') {
    throw new SiltError('WRONG_STATE', `cannot update container ${id}: container not running`, { id });
  }
  const { l3CacheSchema = '', memBwSchema = '' } = options;
  if (l3CacheSchema !== '' || memBwSchema !== '')
    await updateSchemata(workshop, container.state, { l3CacheSchema, memBwSchema });
  await updateContainer(workshop, container.state, resources);
  process.exit(0);
}

async function wantedResources(options: Readonly<Record<string, string>>): Promise<Resources> {
  const { parseResources } = await import('../../oci');
  const file = options['resources'];
  if (file === undefined) return parseResources(JSON.stringify(fromFlags(options)), 'the flags of update');
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new SiltError('REQUEST_INVALID', `cannot read the resources ${file}: ${(error as Error).message}`, {
      path: file,
    });
  }
  return parseResources(text, file === '-' ? 'standard input' : file);
}

function fromFlags(options: Readonly<Record<string, string>>): object {
  const resources: Record<string, Record<string, string | number>> = {};
  for (const { flag, path, text, size } of FLAGS) {
    const value = options[camel(flag)];
    if (value === undefined) continue;
    const number = size ? sizeInBytes(value) : Number(value);
    if (!text && (value.trim() === '' || !Number.isInteger(number))) {
      throw new SiltError('REQUEST_INVALID', `invalid value for ${flag}: ${JSON.stringify(value)} is no whole number`);
    }
    const [group, key] = path;
    (resources[group] ??= {})[key] = text ? value : number;
  }
  return resources;
}

/** `50M`, `1.5gib` as the units of Go programs have them, in powers of 1024; without a unit, the number of bytes itself. */
function sizeInBytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text) ?? [];
  if (number === undefined) return Number(text);
  return Math.floor(Number(number) * 1024 ** ('kmgtp'.indexOf(unit?.toLowerCase() ?? '-') + 1));
}

/** As commander names an option's value. */
function camel(flag: string): string {
  return flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
