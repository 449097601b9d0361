import type { Command } from 'commander';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SiltError } from '../../errors';
import { passOn } from '../go-flags';

interface SpecOptions {
  readonly bundle: string;
  readonly rootless: boolean;
  readonly cwd?: string;
  readonly netns?: string;
}

export function registerSpec(silt: Command): void {
  const spec = silt
    .command('spec')
    .description('write a config.json to start from, for a bundle with its root filesystem in rootfs')
    .argument('[command...]', 'what the container runs; sh without it')
    .option('-b, --bundle <directory>', 'the bundle', '.')
    .option('--rootless', 'with a user namespace in which root is the user who asks', false)
    .option('--cwd <path>', 'the working directory in the container')
    .option('--netns <path>', 'a network namespace to join')
    .action((args: string[], options: SpecOptions) => writeSpec(args, options));
  passOn(spec);
}

/** runc's spec with runsc's flags. @throws SiltError REQUEST_INVALID. */
async function writeSpec(args: readonly string[], options: SpecOptions): Promise<void> {
  const { bundle, rootless, cwd, netns } = options;
  if (!statSync(bundle, { throwIfNoEntry: false })?.isDirectory())
    throw new SiltError('REQUEST_INVALID', `the bundle ${bundle} is no directory`, { path: bundle });
  if (cwd !== undefined && !cwd.startsWith('/'))
    throw new SiltError('REQUEST_INVALID', `--cwd must be an absolute path, not ${JSON.stringify(cwd)}`);
  const { defaultSpec } = await import('../../oci');
  const spec = defaultSpec({
    unified: existsSync('/sys/fs/cgroup/cgroup.controllers'),
    args,
    ...(rootless ? { rootless: { uid: process.geteuid!(), gid: process.getegid!() } } : {}),
    ...(cwd === undefined ? {} : { cwd }),
    ...(netns === undefined ? {} : { netns }),
  });
  const path = join(bundle, 'config.json');
  try {
    writeFileSync(path, JSON.stringify(spec, null, '\t'), { flag: 'wx', mode: 0o666 });
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST';
    const found = exists ? 'it exists; remove it first' : (error as Error).message;
    throw new SiltError('REQUEST_INVALID', `cannot write ${path}: ${found}`, { path }, { cause: error });
  }
}
