import { type Command, InvalidArgumentError, Option } from 'commander';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { SiltError } from '../../errors';
import type { Frame } from '../frame';
import { isTerminal } from '../is-terminal';
import { passOn } from '../go-flags';

interface DoOptions {
  readonly root: string;
  readonly cwd: string;
  readonly volume: readonly string[];
}

export function registerDo(silt: Command, frame: Frame): void {
  passOn(
    silt
      .command('do')
      .description('run a command on the host’s files in a container; what it writes to them is thrown away')
      .argument('<command...>', 'the command and its arguments')
      .option('--root <directory>', 'the files that it sees', '/')
      .option('--cwd <directory>', 'its working directory; this one without it', '.')
      .option(
        '--volume <source[:destination]>',
        'a directory that it may write to; again for more',
        (value: string, all: readonly string[]) => [...all, value],
        [] as readonly string[],
      )
      .addOption(
        new Option('--force-overlay [boolean]', 'accepted, for runsc: there is always an overlay')
          .preset('true')
          .argParser(readOverlay),
      )
      .option('--quiet', 'accepted, for runsc', false)
      .option('--ip <address>', 'accepted, for runsc: there is the host’s network, or none')
      .action((args: string[], options: DoOptions) => doOnce(frame, args, options)),
  );
}

function readOverlay(text: string): boolean {
  if (text === 'true') return true;
  throw new InvalidArgumentError('The host’s files are never written to; name what may be with --volume.');
}

/** @throws SiltError. Ends this process with the command's exit status otherwise. */
async function doOnce(frame: Frame, args: readonly string[], { root, cwd, volume }: DoOptions): Promise<void> {
  const { runBundle } = await import('../run-bundle');
  const { throwAwaySpec } = await import('../throw-away-spec');
  for (const path of [root, cwd])
    if (!existsSync(path)) throw new SiltError('REQUEST_INVALID', `there is no ${resolve(path)}`, { path });
  const spec = throwAwaySpec({
    args,
    env: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
    cwd: resolve(cwd),
    root: resolve(root),
    volumes: volume,
    terminal: isTerminal(0) && isTerminal(1),
    hostname: hostname(),
    hostNetwork: frame.options.network === 'host',
    unified: existsSync('/sys/fs/cgroup/cgroup.controllers'),
    mountinfo: readFileSync('/proc/self/mountinfo', 'utf8'),
  });
  const bundle = mkdtempSync(join(tmpdir(), 'silt-do-'));
  process.once('exit', () => rmSync(bundle, { recursive: true, force: true }));
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
  await runBundle(frame, basename(bundle), {
    bundle,
    newKeyring: true,
    preserveFds: 0,
    passFd: [],
    detach: false,
    keep: false,
  });
}
