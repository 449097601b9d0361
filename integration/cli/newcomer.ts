/** Somebody who types what the README says: its commands, against private engines. */
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand, type CommandResult } from '../harness';

export interface NewcomerSettings {
  /** Everything that is written is below it. */
  readonly directory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Shell scripts in front of programs on PATH, by name: they lead to the private engine. */
  readonly wrappers: Readonly<Record<string, string>>;
  /** Paths of the README, and where they are here. */
  readonly paths: Readonly<Record<string, string>>;
}

/** Runs a block as one bash script on a terminal, which stops at the first command that fails. */
export async function type(script: string, settings: NewcomerSettings): Promise<CommandResult> {
  const { directory, environment, paths } = settings;
  const programs = join(directory, 'programs');
  mkdirSync(programs, { recursive: true });
  for (const [name, text] of Object.entries({ sudo: 'exec "$@"', ...settings.wrappers })) {
    const path = join(programs, name);
    writeFileSync(path, `#!/bin/bash\n${text}\n`);
    chmodSync(path, 0o755);
  }
  let here = script;
  for (const [from, to] of Object.entries(paths)) here = here.replaceAll(from, to);
  const work = mkdtempSync(join(directory, 'work-'));
  const file = join(work, 'block.sh');
  writeFileSync(file, here);
  const env = { ...environment, PATH: `${programs}:${environment['PATH']}` };
  // util-linux's: a terminal for what asks for one, and the status of the script.
  return runCommand(['script', '-qec', `bash -euo pipefail ${file}`, '/dev/null'], {
    env,
    cwd: work,
    timeoutMs: 120_000,
  });
}
