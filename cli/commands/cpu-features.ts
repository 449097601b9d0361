import type { Command } from 'commander';
import { readFileSync } from 'node:fs';
import { print } from '../print';

export function registerCpuFeatures(silt: Command): void {
  silt
    .command('cpu-features')
    .description('the features of this machine’s CPU, by the names of /proc/cpuinfo')
    .option('--json', 'as a JSON list', false)
    .action(async ({ json }: { json: boolean }) => {
      const { cpuFeatures } = await import('../../sandbox');
      const features = cpuFeatures(readFileSync('/proc/cpuinfo', 'utf8'));
      print(`${json ? JSON.stringify(features) : features.join(',')}\n`);
    });
}
