/** A container from the command line, beside others: what `docker run` has its runtime do, in one command. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommandLine, Runtime } from '../harness/command-line';
import { findProgram } from '../harness/peers';
import { fetchRunsc } from '../harness/runsc';
import { measure, report } from './measure';

/** Another runtime beside silt's. */
export interface Beside {
  readonly name: string;
  readonly runtime: Runtime;
}

export async function benchCommandLine(rounds: number, print: (text: string) => void): Promise<void> {
  const host = new CommandLine();
  try {
    const runtimes = [
      { name: 'silt', runtime: host.silt },
      { name: 'runc', runtime: host.runc },
      ...(await crunBeside(host, print)),
      ...(await runscBeside(host, print)),
    ];
    const bundle = host.bundle(['true']);
    const contestants = runtimes.map(({ name, runtime }) => ({
      name,
      run: () => runtime.must(['run', '--bundle', bundle, host.newId()]),
    }));
    print(report('run --bundle, true', await measure(contestants, rounds)));
  } finally {
    await host.destroy();
  }
}

/** crun, where it is installed and runs: older ones do not on hosts with cgroups of both versions. */
async function crunBeside(host: CommandLine, print: (text: string) => void): Promise<Beside[]> {
  const path = findProgram('crun');
  if (path !== undefined) return ifItRuns(host, { name: 'crun', program: path }, print);
  print('crun: skipped, it is not installed (the Debian package crun)\n');
  return [];
}

/** gVisor's, where it runs at all. */
export async function runscBeside(host: CommandLine, print: (text: string) => void): Promise<Beside[]> {
  const found = await fetchRunsc();
  if ('reason' in found) {
    print(`runsc: skipped, ${found.reason}\n`);
    return [];
  }
  const bin = join(host.directory, 'bin');
  mkdirSync(bin, { recursive: true });
  const program = join(bin, 'runsc');
  // What it does not know of a spec's network namespace is nobody's business here.
  writeFileSync(program, `#!/bin/sh\nexec ${found.path} --platform=systrap --network=none "$@"\n`, { mode: 0o755 });
  return ifItRuns(host, { name: 'runsc', program }, print);
}

async function ifItRuns(
  host: CommandLine,
  { name, program }: { readonly name: string; readonly program: string },
  print: (text: string) => void,
): Promise<Beside[]> {
  const runtime = new Runtime(program, join(host.directory, name), host.environment);
  const { code, stderr } = await runtime.run(['run', '--bundle', host.bundle(['true']), host.newId()]);
  if (code === 0) return [{ name, runtime }];
  print(`${name}: skipped, it does not run here: ${stderr.trim().split('\n').at(-1)}\n`);
  return [];
}
