import type { Command } from 'commander';
import { COMMIT, VERSION } from '../../sandbox/version';
import { print } from '../print';

export function registerFeatures(silt: Command): void {
  silt
    .command('features')
    .description('what silt can do on a host that can: the features document of the OCI runtime spec')
    .action(async () => {
      const { features } = await import('../../oci');
      print(`${JSON.stringify(features({ version: VERSION, commit: COMMIT }), null, 4)}\n`);
    });
}
