import type { Command } from 'commander';
import { basename, resolve } from 'node:path';
import type { Frame } from '../frame';
import { print } from '../print';

export function registerProgram(silt: Command, frame: Frame): void {
  silt
    .command('program')
    .description('print the system calls that starting a bundle would make')
    .argument('<bundle>', 'directory with config.json')
    .option('--json', 'as JSON', false)
    .action((bundle: string, options: { json: boolean }) => printPrograms(frame, { bundle, ...options }));
}

/** What a start of the bundle would do, without doing any of it. @throws SiltError. */
async function printPrograms(frame: Frame, { bundle, json }: { bundle: string; json: boolean }): Promise<void> {
  const [{ takeApart }, { readBundle }, { planPrograms }, { listProgram, printProgram }, { openWorkshop }] =
    await Promise.all([
      import('../../gofer'),
      import('../../oci'),
      import('../../sandbox'),
      import('../../syscall'),
      import('../workshop'),
    ]);
  const directory = resolve(bundle);
  const spec = readBundle(directory);
  const programs = planPrograms(openWorkshop(frame), {
    id: basename(directory),
    bundle: directory,
    spec,
    rootfs: takeApart([], spec.root?.path, directory),
  });
  if (json) {
    const listed = Object.fromEntries(Object.entries(programs).map(([name, program]) => [name, listProgram(program)]));
    print(`${JSON.stringify(listed, null, 2)}\n`);
    return;
  }
  for (const [name, program] of Object.entries(programs)) print(`## ${name}\n${printProgram(program)}\n`);
}
