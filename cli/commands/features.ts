import type { Command } from 'commander';
import { COMMIT, VERSION } from '../../sandbox/version';

export function registerFeatures(silt: Command): void {
  silt
    .command('features')
    .description('what silt can do on a host that can: the features document of the OCI runtime spec')
    .action(async () => {
      const { features } = await import('../../oci');
      process.stdout.write(`${JSON.stringify(features({ version: VERSION, commit: COMMIT }), null, 4)}\n`);
    });
}
