import { Command, CommanderError } from 'commander';
import { SiltError } from '../errors';
import { DEFAULT_ROOT } from '../sandbox';
import { printPrograms } from './program';
import { tarRootfsUpper } from './tar';

export const VERSION = '0.1.0';

/** Exit status of a command that failed; runc's. */
const FAILED = 1;

function buildCommand(): Command {
  const silt = new Command('silt')
    .description('pods and containers with root filesystems that start from a tar and can be saved to one')
    .version(`silt version ${VERSION}\nspec: 1.2.0`, '-v, --version', 'print the version')
    .option(
      '--root <directory>',
      'where the state of containers is; containerd’s are in /run/silt/<namespace>',
      DEFAULT_ROOT,
    )
    .enablePositionalOptions()
    .exitOverride();
  const tar = silt.command('tar').description('archives of a container’s filesystem');
  tar
    .command('rootfs-upper')
    .description('write what a container changed in its root filesystem as a tar')
    .argument('<container-id>', 'the container, or a beginning of its id that no other has')
    .option('--file <path>', 'the file to write; standard output without it')
    .option('--live', 'do not freeze the container meanwhile', false)
    .action(async (id: string, options: { file?: string; live: boolean }) => {
      await tarRootfsUpper({ root: silt.opts<{ root: string }>().root, id, ...options });
    });
  silt
    .command('program')
    .description('print the system calls that starting a bundle would make')
    .argument('<bundle>', 'directory with config.json')
    .option('--json', 'as JSON', false)
    .action((bundle: string, options: { json: boolean }) => printPrograms({ bundle, ...options }));
  return silt;
}

async function main(): Promise<void> {
  try {
    await buildCommand().parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode;
      return;
    }
    const code = error instanceof SiltError ? ` (${error.code})` : '';
    process.stderr.write(`silt: ${error instanceof Error ? error.message : String(error)}${code}\n`);
    process.exitCode = FAILED;
  }
}

void main();
