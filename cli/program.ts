import { readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { SiltError } from '../errors';
import { takeApart } from '../gofer';
import { loadNative, openInterpreter } from '../native';
import { parseSpec } from '../oci';
import { Host, planPrograms, readConfig, StateDirectory } from '../sandbox';
import { Kernel, listProgram, printProgram } from '../syscall';

/** `silt program`: what a start of the bundle would do, without doing any of it. @throws SiltError. */
export function printPrograms({ bundle, json }: { bundle: string; json: boolean }): void {
  const directory = resolve(bundle);
  const path = join(directory, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new SiltError(
      'SPEC_INVALID',
      `cannot read the spec ${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    );
  }
  const spec = parseSpec(text, path);
  const native = loadNative();
  const workshop = {
    kernel: new Kernel(native, openInterpreter(undefined, native)),
    host: new Host(),
    config: readConfig(),
    state: new StateDirectory('/run/silt'),
  };
  const programs = planPrograms(workshop, {
    id: basename(directory),
    bundle: directory,
    spec,
    layers: takeApart([], spec.root?.path, directory),
  });
  if (json) {
    const listed = Object.fromEntries(Object.entries(programs).map(([name, program]) => [name, listProgram(program)]));
    process.stdout.write(`${JSON.stringify(listed, null, 2)}\n`);
    return;
  }
  for (const [name, program] of Object.entries(programs))
    process.stdout.write(`## ${name}\n${printProgram(program)}\n`);
}
