import { Argument, type Command } from 'commander';
import { print } from '../print';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

export function registerCompletion(silt: Command): void {
  silt
    .command('completion')
    .description('print a completion for a shell, to be sourced or installed where the shell looks')
    .addArgument(new Argument('<shell>', SHELLS.join(', ')).choices(SHELLS))
    .action(async (shell: (typeof SHELLS)[number]) => {
      const { bashCompletion, describeCommands, fishCompletion, zshCompletion } = await import('../reference');
      const make = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion }[shell];
      print(make(describeCommands(silt)));
    });
}
