import type { Command } from 'commander';
import type { EngineChoice } from './engines';

/** The flags that `install` and `uninstall` share. */
export interface InstallFlags extends EngineChoice {
  readonly runtime: string;
  readonly dryRun: boolean;
  /** runsc's name for dockerConfig. */
  readonly config_file?: string;
}

export function addInstallFlags(command: Command): Command {
  return command
    .option('--docker', 'Docker')
    .option('--docker-config <file>', 'Docker, with this daemon.json')
    .option('--config_file <file>', 'the same, by runsc’s name')
    .option('--containerd', 'containerd')
    .option('--containerd-config <file>', 'containerd, with this config.toml')
    .option('--runtime <name>', 'the name that the runtime has there', 'silt')
    .option('--dry-run', 'show the change and write nothing', false);
}
